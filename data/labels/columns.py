"""The columns of a labels CSV: which one is the file name, the label, the speaker, the fold, ...

Each role has the names of our own CSV, then names that datasets and tools of the field use, the
most certain first. The user's names (``--columns``) come before all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earful.data.errors import did_you_mean
from earful.data.labels.csv_options import REQUIRED_ROLES
from earful.data.labels.header import find_named, normalise_name, quote_names
from earful.data.labels.split_words import is_split_word
from earful.data.labels.text_file import LabelsError
from earful.data.labels.time_columns import TimeColumns, find_time_columns, is_time_name

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
_FIELD_NAMES = {
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
        "positive_labels", "ground_truth", "annotation", "scene", "event", "target", "y",
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
_LABEL_NAMES = frozenset(
    {"classid", "class_id", "label_id", "labelid", "target_label", "secondary_labels", "label2"}
)
_SIMPLE_ROLES = ("filename", "label", "speaker", "fold", "split")


@dataclass(frozen=True)
class Columns:
    """The position in the header of each role that is read, the times among them.

    ``notes`` say what is read under another name, and what looks like a role and is not read.
    """

    positions: Mapping[str, int]
    times: TimeColumns | None
    names: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=tuple)

    def value(self, role: str, cells: Sequence[str]) -> str:
        """A row's text for a role; empty where the CSV has no such column, or the row is short."""
        position = self.positions.get(role, len(cells))
        return cells[position].strip() if position < len(cells) else ""


def count_known(names: Sequence[str]) -> int:
    """How many of the names in a header are known ones."""
    return len(set(map(normalise_name, names)) & _all_names())


def _all_names() -> frozenset[str]:
    return frozenset(
        name for table in (COLUMN_NAMES, _FIELD_NAMES) for names in table.values() for name in names
    )


def usual_names(role: str) -> tuple[str, ...]:
    """The names that are understood for a role, the most certain first."""
    return (*COLUMN_NAMES.get(role, ()), *_FIELD_NAMES.get(role, ()))


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    path: Path,
    asked: Mapping[str, str],
    count_files: Callable[[Sequence[str]], int],
    required: Sequence[str] = REQUIRED_ROLES,
) -> Columns:
    """Find the columns to read.

    Args:
        header: the names in the file.
        rows: the first rows, by whose values split columns and the file names are chosen.
        path: of the CSV, for messages.
        asked: names by role as the user gave them; an empty one leaves the role aside.
        count_files: how many of some file names exist.
        required: roles without which the CSV is of no use.

    Raises:
        LabelsError: a required role, or a column that the user named, is not there; or one is there
            twice.
    """
    names = [normalise_name(name) for name in header]
    positions = {
        role: position
        for role in _SIMPLE_ROLES
        if role not in asked and (position := _choose(role, names, rows, count_files)) is not None
    }
    for role, name in asked.items():
        if name and role in _SIMPLE_ROLES:
            positions[role] = find_named(header, name, path, role)
    _check_twice(header, names, positions, path)
    for role in required:
        if role not in positions:
            raise LabelsError(_missing_message(header, path, role))
    times = find_time_columns(header, names, path, asked)
    read = {role: header[position].strip() for role, position in positions.items()}
    read |= {role: header[position].strip() for role, position in times.items()} if times else {}
    return Columns(positions, times, read, tuple(_notes(header, names, read, asked)))


def _choose(
    role: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    count_files: Callable[[Sequence[str]], int],
) -> int | None:
    """The position of the first usual name; of file names that of which the most exist.

    A column that is not called ``split`` is one only if its values are words for splits.
    """
    candidates = [names.index(name) for name in usual_names(role) if name in names]
    values = {i: [row[i].strip() for row in rows if i < len(row)] for i in candidates}
    if role == "filename" and len(candidates) > 1:
        counts = {i: count_files(values[i]) for i in candidates}
        return max(candidates, key=counts.__getitem__)  # the first of those with the most
    if role == "split":
        own = COLUMN_NAMES["split"]
        candidates = [i for i in candidates if names[i] in own or _are_splits({*values[i]} - {""})]
    return candidates[0] if candidates else None


def _are_splits(values: set[str]) -> bool:
    return bool(values) and all(map(is_split_word, values))


def _check_twice(
    header: Sequence[str], names: Sequence[str], positions: Mapping[str, int], path: Path
) -> None:
    for position in positions.values():
        if names.count(names[position]) > 1:
            same = {header[i].strip() for i, name in enumerate(names) if name == names[position]}
            if len(same) == 1:
                raise LabelsError(f"{path} has the column {names[position]!r} twice; keep one")


def _missing_message(header: Sequence[str], path: Path, role: str) -> str:
    hints = "".join(f"; {note}" for note in _misnamed(header))
    return (
        f"{path} has the columns {quote_names(header)}; one of "
        f"{', '.join(COLUMN_NAMES[role])} is needed for the {role}: name another one with "
        f"--columns {role}=NAME, or add a first line with the names if there is none{hints}"
    )


def _misnamed(header: Sequence[str]) -> Iterator[str]:
    """A note for each column whose name is nearly one that is read."""
    known = [name for accepted in COLUMN_NAMES.values() for name in accepted]
    every = _all_names() | _GROUP_NAMES | _LABEL_NAMES
    for name in header:
        is_known = normalise_name(name) in every or is_time_name(normalise_name(name))
        hint = "" if is_known else did_you_mean(name.strip(), known)
        if hint:
            yield f"the column {name.strip()!r} is not read{hint}"


def _notes(
    header: Sequence[str],
    names: Sequence[str],
    read: Mapping[str, str],
    asked: Mapping[str, str],
) -> Iterator[str]:
    """What is read under names that are not our own, and what looks like a role and is not read."""
    foreign = [
        role
        for role, name in read.items()
        if role not in asked and normalise_name(name) not in COLUMN_NAMES.get(role, ())
    ]
    unread = [
        (header[i].strip(), kind)
        for i, name in enumerate(names)
        if header[i].strip() not in read.values() and (kind := _kind_of(name)) and name
    ]
    if foreign or any(kind in read for _, kind in unread):
        yield "read: " + ", ".join(f"{role} from {name!r}" for role, name in read.items())
    if unread:
        listed = ", ".join(f"{name!r} ({_KINDS[kind]})" for name, kind in unread)
        first_role = unread[0][1]
        example = "start=NAME,end=NAME" if first_role == "start" else f"{first_role}={unread[0][0]}"
        yield f"not read: {listed}; --columns reads them, as in --columns {example}"
    yield from _misnamed(header)


_KINDS = {
    "filename": "like a file name",
    "label": "like a label",
    "speaker": "like a group",
    "fold": "like a fold",
    "split": "like a split",
    "start": "like a time",
}


def _kind_of(name: str) -> str:
    """The role of which a name looks; empty for none."""
    for role in _SIMPLE_ROLES:
        if name in usual_names(role):
            return role
    if name in _GROUP_NAMES:
        return "speaker"
    if name in _LABEL_NAMES:
        return "label"
    return "start" if is_time_name(name) else ""
