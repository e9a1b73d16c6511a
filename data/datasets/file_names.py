"""Labels in the names of files and folders: a regular expression, and the codes of its labels."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earful.data.annotations.folder_files import list_files, name_files
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.text_file import LabelsError

# What follows from a match, such as the split from the number of a recording.
FromMatch = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class FileNames:
    """Labels in file names.

    pattern    matches the path below the root, with ``/``; its groups are ``label``, and where
               there are any ``speaker``
    labels     the label of a code; empty: the code is the label
    split      the split of a match, by the dataset's rule; None: without splits
    fold       the official fold of a match; None: without folds
    """

    pattern: re.Pattern[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    split: FromMatch | None = None
    fold: FromMatch | None = None

    def __call__(self, root: Path, options: CsvOptions, _table: str = "") -> LabelledClips:
        """The clips below ``root``; recordings of other names are counted in a note.

        Raises:
            LabelsError: ``options`` names columns, and there is no table.
        """
        refuse_columns(root, options)
        files = list_files(root)
        clips: list[Clip] = []
        problems: list[ClipProblem] = []
        others: list[Path] = []
        for path in files.recordings:
            name = path.relative_to(root).as_posix()
            match = self.pattern.fullmatch(name)
            found = None if match is None else self._clip(name, path, match)
            if found is None:
                others.append(path)
            elif isinstance(found, Clip):
                clips.append(found)
            else:
                problems.append(found)
        return LabelledClips.of_clips(clips, problems, [*files.notes(), *others_note(others, root)])

    def _clip(self, name: str, path: Path, match: re.Match[str]) -> Clip | ClipProblem:
        code = match["label"]
        if self.labels and code not in self.labels:
            reason = f"is none of the codes {', '.join(sorted(self.labels))}; leave the file out"
            return ClipProblem.of_row(0, name, "label", code, reason)
        return Clip(
            0,
            name,
            path,
            self.labels.get(code, code),
            speaker=match.groupdict().get("speaker") or "",
            split=self.split(match) if self.split else "",
            fold=self.fold(match) if self.fold else "",
        )


def others_note(others: Sequence[Path], root: Path) -> list[str]:
    """A note on recordings that are not part of the layout."""
    if not others:
        return []
    count = "1 recording has" if len(others) == 1 else f"{len(others)} recordings have"
    return [f"{count} another name or place and are left out: {name_files(others, root)}"]


def refuse_columns(root: Path, options: CsvOptions) -> None:
    """Refuse columns for labels that are in file names.

    Raises:
        LabelsError: ``options`` names columns.
    """
    if options.columns:
        raise LabelsError(
            f"--columns names columns of a table, and the labels of {root} are in the names of "
            "its files; leave --columns out"
        )
