"""Names of columns that datasets and tools of the field use, by role."""

import difflib
from collections.abc import Iterator, Sequence

from earful.data.labels.header import normalise_name
from earful.data.labels.time_columns import is_time_name

# Of our own labels CSVs, by which they are told from other tables.
COLUMN_NAMES = {
    "filename": ("filename", "file", "path", "file_name"),
    "label": ("label", "digit", "class", "class_label"),
    "speaker": ("speaker", "group", "speaker_id"),
    "fold": ("fold",),
    "split": ("split",),
    "start": ("start",),
    "end": ("end",),
}
# Of datasets and tools: Hugging Face, UrbanSound8K, FSD50K, AudioSet, DCASE, BirdCLEF, NeMo, ...
FIELD_NAMES = {
    "filename": (
        "filepath", "file_path", "full_path", "relative_path", "rel_path", "audio_path",
        "audio_filepath", "audio_file", "audio_filename", "audiofilename", "audio_file_name",
        "wav_path", "wav_file", "wav_filename", "wav", "sound_file", "soundfile", "slice_file_name",
        "fname", "clip_path", "clip", "audio", "recording", "recording_path", "begin_path",
        "begin_file", "ytid", "youtube_id", "itemid", "item_id",
    ),
    "label": (
        "labels", "category", "class_name", "classname", "label_name", "label_text", "scene_label",
        "event_label", "primary_label", "emotion", "genre", "species", "common_name", "keyword",
        "command", "intent", "instrument", "call_type", "call", "diagnosis", "word", "tag", "tags",
        "positive_labels", "event_labels", "label_names", "class_names", "sound_class",
        "sound_event", "ebird_code", "species_code", "species_name", "ground_truth",
        "annotation", "scene", "event", "target", "y",
    ),
    "speaker": (
        "speakerid", "speaker_name", "spk", "spk_id", "spkid", "client_id", "subject",
        "subject_id", "participant", "participant_id", "patient", "patient_id", "actor",
        "actor_id", "singer", "singer_id", "person", "person_id", "user_id",
    ),
    "fold": ("folds", "fold_id", "foldid", "cv_fold", "kfold", "k_fold"),
    "split": ("set", "subset", "partition", "dataset_split", "data_split", "usage"),
}  # fmt: skip
# They group clips that belong together, or number labels; named where they are not read.
_GROUP_NAMES = frozenset(
    {"src_file", "fsid", "take", "recording_id", "recordist", "author", "site", "session",
     "session_id", "device", "source_label", "location", "identifier", "city", "source_file"}
)  # fmt: skip
_SPLIT_NAMES = frozenset(
    {"is_train", "is_val", "is_valid", "is_test", "is_validation", "train", "test", "validation"}
)
_LABEL_NAMES = frozenset(
    {"classid", "class_id", "label_id", "labelid", "target_label", "secondary_labels", "label2"}
)
KINDS = {
    "filename": "like a file name",
    "label": "like a label",
    "speaker": "like a group",
    "fold": "like a fold",
    "split": "like a split",
    "start": "like a time",
}
SIMPLE_ROLES = ("filename", "label", "speaker", "fold", "split")
# Near enough for `lable` and `filname`; `gender` is not `end`.
_SAME_LETTERS = 0.8
_OTHER_WORDS = frozenset({"folder"})


def count_known(names: Sequence[str]) -> int:
    """How many of the names in a header are known ones."""
    return len(set(map(normalise_name, names)) & _all_names())


def _all_names() -> frozenset[str]:
    return frozenset(
        name for table in (COLUMN_NAMES, FIELD_NAMES) for names in table.values() for name in names
    )


def usual_names(role: str) -> tuple[str, ...]:
    """The names that are understood for a role, the most certain first."""
    return (*COLUMN_NAMES.get(role, ()), *FIELD_NAMES.get(role, ()))


def kind_of(name: str) -> str:
    """The role of which a normalised name looks; empty for none."""
    for role in SIMPLE_ROLES:
        if name in usual_names(role):
            return role
    others = {"speaker": _GROUP_NAMES, "label": _LABEL_NAMES, "split": _SPLIT_NAMES}
    for role, names in others.items():
        if name in names:
            return role
    return "start" if is_time_name(name) else ""


def describe_misspelt(header: Sequence[str]) -> Iterator[str]:
    """A note for each column whose name is nearly one that is read."""
    known = [name for accepted in COLUMN_NAMES.values() for name in accepted]
    for name in map(str.strip, header):
        spelt = normalise_name(name)
        near = difflib.get_close_matches(spelt, known, n=1, cutoff=_SAME_LETTERS)
        if near and spelt not in _OTHER_WORDS and not kind_of(spelt):
            yield f"the column {name!r} is not read (did you mean {near[0]!r}?)"
