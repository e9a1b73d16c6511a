"""What is known of a public dataset: its layout, its labels and what it may be used for."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from earful.data.datasets.tables import header
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions

# Reads the clips below a root. The columns that the options name come before those of the
# description; the text is one of its tables, to be read alone, or empty for all.
DatasetReader = Callable[[Path, CsvOptions, str], LabelledClips]


@dataclass(frozen=True)
class KnownDataset:
    """A public dataset.

    marks          patterns below its root that all match something there; alternatives after ``|``
    labels_from    where labels, folds, splits and speakers come from, for the note
    contents       the number of clips and labels, for people
    evaluation     how results on it are compared: official folds or split
    tables         its labels tables, below the root
    columns        that a table has, so that a table of somebody's own is not taken for it
    audio_dirs     the folders of its recordings, below the root; their first parts are patterns
    """

    name: str
    contents: str
    marks: tuple[str, ...]
    read: DatasetReader
    labels_from: str
    evaluation: str
    licence: str
    link: str
    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    audio_dirs: tuple[str, ...] = ()

    def matches(self, root: Path) -> bool:
        """Whether a folder has the layout."""
        return all(
            any(_exists(root, pattern) for pattern in mark.split("|")) for mark in self.marks
        ) and self._has_columns(root)

    def holds(self, relative: Path) -> bool:
        """Whether a folder below the root is one of its recordings, or lies in one."""
        tops = {name.split("/")[0] for name in self.audio_dirs}
        return any(fnmatchcase(relative.parts[0], top) for top in tops)

    def _has_columns(self, root: Path) -> bool:
        if not self.columns:
            return True
        places = [root / name for name in self.tables]
        places += [path for name in self.tables for path in root.glob(f"*/{name}")]
        return any(set(self.columns) <= set(header(path)) for path in places)

    @property
    def layout(self) -> str:
        """The marks as text."""
        return ", ".join(mark.replace("|", " or ") for mark in self.marks)


def _exists(root: Path, pattern: str) -> bool:
    try:
        return any(not path.name.startswith(".") for path in root.glob(pattern))
    except OSError:
        return False
