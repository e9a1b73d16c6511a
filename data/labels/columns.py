"""The columns of a labels CSV: which one is the file name, the label, the speaker, the fold, ...

Each role has the names of our own CSV, then names that datasets and tools of the field use, the
most certain first. The user's names (``--columns``) come before all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earful.data.labels.clip import PROVENANCE_COLUMNS, Provenance
from earful.data.labels.column_names import (
    COLUMN_NAMES,
    KINDS,
    SIMPLE_ROLES,
    describe_misspelt,
    kind_of,
    usual_names,
)
from earful.data.labels.csv_options import REQUIRED_ROLES
from earful.data.labels.header import find_named, normalise_name
from earful.data.labels.missing_column import describe_missing_column
from earful.data.labels.split_words import is_split_word
from earful.data.labels.text_file import LabelsError
from earful.data.labels.time_columns import TimeColumns, find_time_columns
from earful.data.text.printable import printable_text


@dataclass(frozen=True)
class Columns:
    """The position in the header of each role that is read, the times among them.

    ``provenance_columns`` are the positions of those that our own exports add, ``unread`` the names
    of all others. ``notes`` say what is read under another name, and what looks like a role and is
    not read.
    """

    positions: Mapping[str, int]
    times: TimeColumns | None
    names: Mapping[str, str]
    provenance_columns: Mapping[str, int] = field(default_factory=dict)
    unread: Sequence[str] = ()
    notes: Sequence[str] = ()

    def value(self, role: str, cells: Sequence[str]) -> str:
        """A row's text for a role; empty where the CSV has no such column, or the row is short."""
        position = self.positions.get(role, len(cells))
        return cells[position].strip() if position < len(cells) else ""

    def provenance(self, cells: Sequence[str]) -> Provenance:
        """Who gave a row's label, as far as the CSV says it."""
        positions = self.provenance_columns.items()
        return Provenance(**{name: printable_text(cells[i]) for name, i in positions})


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
        for role in SIMPLE_ROLES
        if role not in asked and (position := _choose(role, names, rows, count_files)) is not None
    }
    for role, name in asked.items():
        if name and role in SIMPLE_ROLES:
            positions[role] = find_named(header, name, path, role)
    _check_twice(header, names, positions, path)
    for role in required:
        if role not in positions:
            raise LabelsError(describe_missing_column(header, rows, path, role))
    times = find_time_columns(header, names, path, asked)
    read = {role: header[position].strip() for role, position in positions.items()}
    read |= {role: header[position].strip() for role, position in times.items()} if times else {}
    spelled = [name.strip().lower() for name in header]
    provenance = {name: i for i, name in enumerate(spelled) if name in PROVENANCE_COLUMNS}
    known = {"", *provenance, *(name.lower() for name in read.values())}
    unread = [name for name, spelt in zip(header, spelled, strict=True) if spelt not in known]
    notes = tuple(_notes(header, names, read, asked))
    return Columns(positions, times, read, provenance, unread, notes)


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
        if header[i].strip() not in read.values() and (kind := kind_of(name)) not in {"", *asked}
    ]
    if foreign or any(kind in read for _, kind in unread):
        yield "read: " + ", ".join(f"{role} from {name!r}" for role, name in read.items())
    if unread:
        listed = ", ".join(f"{name!r} ({KINDS[kind]})" for name, kind in unread)
        first_role = unread[0][1]
        example = "start=NAME,end=NAME" if first_role == "start" else f"{first_role}={unread[0][0]}"
        yield f"not read: {listed}; --columns reads them, as in --columns {example}"
    yield from describe_misspelt(header)
