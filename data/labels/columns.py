"""The names of the columns of a labels CSV."""

COLUMN_NAMES = {
    "filename": ("filename", "file", "path", "file_name"),
    "label": ("label", "digit", "class", "class_label"),
    "speaker": ("speaker", "group", "speaker_id"),
    "split": ("split",),
    "start": ("start",),
    "end": ("end",),
}
