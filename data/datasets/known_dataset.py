"""What is known of a public dataset: its layout, its labels and what it may be used for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    audio_dirs     the folders of its recordings, below the root
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
    audio_dirs: tuple[str, ...] = ()

    def matches(self, root: Path) -> bool:
        """Whether a folder has the layout."""
        return all(
            any(_exists(root, pattern) for pattern in mark.split("|")) for mark in self.marks
        )

    @property
    def layout(self) -> str:
        """The marks as text."""
        return ", ".join(mark.replace("|", " or ") for mark in self.marks)


def _exists(root: Path, pattern: str) -> bool:
    try:
        return any(not path.name.startswith(".") for path in root.glob(pattern))
    except OSError:
        return False
