"""Labels in the tables of a dataset."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earful.data.labels.clip import Clip, ClipProblem, LabelledClips
from earful.data.labels.csv_options import ROLES, CsvOptions
from earful.data.labels.labels_csv import read_labels

# The path below the folder of recordings, of a clip whose ``filename`` is the text in the table.
Locate = Callable[[Clip], str]


def keep_filename(clip: Clip) -> str:
    """The path as it is in the table."""
    return clip.filename


@dataclass(frozen=True)
class Table:
    """A labels table.

    path             below the root
    audio_dir        the folder of its recordings, below the root
    columns          the column of a role; roles that are not named are not read
    optional         roles whose column some versions lack
    label_separator  between several labels of one cell
    split            of all its rows, where the table is a part of a split
    locate           the path of a recording below ``audio_dir``
    """

    path: str
    audio_dir: str
    columns: Mapping[str, str]
    optional: tuple[str, ...] = ()
    label_separator: str = ""
    split: str = ""
    locate: Locate = keep_filename


@dataclass(frozen=True)
class Tables:
    """Labels in one or more tables; those that are not there are named in a note.

    With ``first_only``, the tables are the places of one table in different archives.
    """

    tables: Sequence[Table]
    first_only: bool = False

    def __call__(self, root: Path, options: CsvOptions, table: str) -> LabelledClips:
        """The clips of all tables below ``root``, or of ``table`` alone.

        Raises:
            LabelsError: a table cannot be read.
        """
        # A part of the split that is read alone is to be split anew.
        alone = [replace(item, split="") for item in self.tables if item.path == table]
        wanted = alone or list(self.tables)
        present = [item for item in wanted if (root / item.path).is_file()]
        missing = [item.path for item in wanted if item not in present]
        if self.first_only:
            present, missing = present[:1], []
        clips: list[Clip] = []
        problems: list[ClipProblem] = []
        for item in present:
            labelled = read_table_clips(root, item, options)
            clips += labelled.clips
            problems += labelled.problems
        notes = [f"{name} is not there, and nothing of it is read" for name in missing]
        return LabelledClips.of_clips(clips, problems, notes)


def read_table_clips(root: Path, table: Table, options: CsvOptions) -> LabelledClips:
    """The clips of one table; the notes of the reader are those of the description.

    Raises:
        LabelsError: the table cannot be read.
    """
    path = root / table.path
    names = {name.strip().lower() for name in header(path)}
    columns = {
        role: column
        for role, column in table.columns.items()
        if role not in table.optional or column.lower() in names
    }
    folder = root / table.audio_dir
    # Every role has a column or none, so that no column is taken by its name alone.
    given = {**dict.fromkeys(ROLES, ""), **columns, **options.columns}
    separator = options.label_separator or table.label_separator
    labelled = read_labels(
        path, CsvOptions(folder if folder.is_dir() else root, given, label_separator=separator)
    )
    clips = [_place(clip, table, folder) for clip in labelled.clips]
    return replace(labelled, clips=tuple(clips), notes=())


def _place(clip: Clip, table: Table, folder: Path) -> Clip:
    name = table.locate(clip)
    return replace(clip, path=folder / name, filename=name, split=table.split or clip.split)


def header(path: Path) -> list[str]:
    """The column names of a table, separated by tabs or commas; none if it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = file.readline(1 << 16)
    except OSError:
        return []
    delimiter = "\t" if "\t" in first else ","
    return next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), [])
