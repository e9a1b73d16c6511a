"""ICBHI 2017, respiratory sounds: ``101_1b1_Al_sc_Meditron.wav`` beside its ``.txt``.

Source: bhichallenge.med.auth.gr. A line of the text file is a breathing cycle: start, end, crackles
and wheezes. The official split (ICBHI_challenge_train_test.txt, a file of its own) has patients 156
and 218 in both parts. The site says freely available for research; copies elsewhere say CC0.
"""

import math
import re
from pathlib import Path

from earful.data.annotations.folder_files import list_files
from earful.data.datasets.file_names import others_note, refuse_columns
from earful.data.datasets.known_dataset import KnownDataset
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips
from earful.data.labels.csv_options import CsvOptions

_NAME = re.compile(r"(?P<speaker>[12][0-9]{2})_[0-9a-z]+_(?:Tc|A[lr]|P[lr]|L[lr])_(?:sc|mc)_\w+")
_SPLIT_LIST = "icbhi_challenge_train_test.txt"
# (crackles, wheezes)
_LABELS = {("0", "0"): "none", ("1", "0"): "crackle", ("0", "1"): "wheeze", ("1", "1"): "both"}


def _read(root: Path, options: CsvOptions, _table: str) -> LabelledClips:
    refuse_columns(root, options)
    files = list_files(root)
    matched = [path for path in files.recordings if path.parent == root and _match(path)]
    others = sorted(set(files.recordings) - set(matched))
    splits = _read_splits(root)
    used = [path for path in matched if not splits or path.stem in splits]
    cycles = [cycle for path in used for cycle in _cycles(path, splits.get(path.stem, ""))]
    notes = [*files.notes(), *others_note(others, root)]
    if not splits:
        notes.append(
            "the official split is not here: put ICBHI_challenge_train_test.txt beside the "
            "recordings to use it"
        )
    elif len(used) < len(matched):
        notes.append(f"{len(matched) - len(used)} recordings are in no part and are left out")
    clips = [cycle for cycle in cycles if isinstance(cycle, Clip)]
    problems = [cycle for cycle in cycles if isinstance(cycle, ClipProblem)]
    return LabelledClips.of_clips(clips, problems, notes)


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.stem)


def _read_splits(root: Path) -> dict[str, str]:
    """``train`` or ``test`` by recording, from the list in the folder or beside it."""
    lists = [
        path
        for folder in (root, root.parent)
        for path in folder.glob("*.txt")
        if path.name.lower() == _SPLIT_LIST
    ]
    lines = lists[0].read_text("utf-8", errors="replace").splitlines() if lists else []
    pairs = [line.split() for line in lines]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1] in ("train", "test")}


def _cycles(path: Path, split: str) -> list[Clip | ClipProblem]:
    """The breathing cycles of a recording, or what is wrong with its text file."""
    match, text = _match(path), path.with_suffix(".txt")
    if match is None or not text.is_file():
        reason = "has no text file with its breathing cycles; leave it out"
        return [ClipProblem.of_row(0, path.name, "label", text.name, reason)]
    lines = text.read_text("utf-8", errors="replace").splitlines()
    return [
        _cycle(path, number, line, match["speaker"], split)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _cycle(path: Path, number: int, line: str, speaker: str, split: str) -> Clip | ClipProblem:
    cells = line.split()
    try:
        start, end = float(cells[0]), float(cells[1])
        label = _LABELS[cells[2], cells[3]]
    except (ValueError, IndexError, KeyError):
        start, end, label = 0.0, math.nan, ""
    if not 0 <= start < end < math.inf:
        reason = "a line is start, end, crackles and wheezes, such as 0.036 0.579 0 1"
        return ClipProblem.of_row(number, path.with_suffix(".txt").name, "label", line[:60], reason)
    return Clip(0, path.name, path, label, speaker, split, start, end)


ICBHI = KnownDataset(
    name="ICBHI",
    contents="6,898 breathing cycles in 920 recordings of 126 patients, 4 labels",
    marks=("[12][0-9][0-9]_*_[APLT][lrc]_[sm]c_*.wav",),
    read=_read,
    labels_from="none, crackle, wheeze or both from the text files, patients from the file names",
    evaluation="split: ICBHI_challenge_train_test.txt",
    licence="free for research",
    link="https://bhichallenge.med.auth.gr/ICBHI_2017_Challenge",
)
