"""Raven selection tables: tab-separated with a header; the user chooses the label column.

``File Offset (s)`` is the time inside ``Begin Path``; ``Begin Time (s)`` is cumulative over the
files of a table (Raven Pro manual, "Selection tables").
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.annotations.annotation import AnnotationError, AnnotationSet, parse_seconds
from earful.data.annotations.resolve_paths import locate_all
from earful.data.annotations.tracks import AudioFolder, one_line, text_lines, track_files
from earful.data.labels.clip import Clip, ClipProblem, Provenance
from earful.data.labels.column_names import COLUMN_NAMES
from earful.data.text.printable import printable_text

SUFFIX = ".selections.txt"
FORMAT = "raven"
_TABLE_NUMBER = re.compile(r"\.Table\.[0-9]+$")
BEGIN, END, OFFSET = "begin time (s)", "end time (s)", "file offset (s)"
HEADER = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Begin Path\tFile Offset (s)\tLabel"
)
# Columns of Raven and of other writers of its tables; columns with a unit are measurements.
_NON_LABEL_COLUMNS = frozenset(
    {"selection", "view", "channel", "begin path", "end path", "begin file", "end file", "score",
     "confidence", "begin date", "begin hour", "begin clock time", "end clock time", "end date",
     "begin date time", "occupancy", "rating"}
)  # fmt: skip


def selection_line(
    number: int,
    start_seconds: float,
    end_seconds: float,
    max_hz: float,
    path: str,
    extra_cells: Sequence[str],
) -> str:
    """One line of a table; ``extra_cells`` follow ``File Offset (s)``."""
    times = [f"{t:.6f}" for t in (start_seconds, end_seconds)]
    cells = [str(number), "Spectrogram 1", "1", *times, "0.0", f"{max_hz:.1f}", path, times[0]]
    return "\t".join(map(one_line, [*cells, *extra_cells])) + "\n"


def looks_like_table(first_line: str) -> bool:
    """Whether a file with this first line is a selection table."""
    return {"selection", BEGIN} <= {cell.strip().lower() for cell in first_line.split("\t")}


@dataclass(frozen=True)
class _Table:
    """A file's rows by column name (lower case), and its label column."""

    path: Path
    rows: list[tuple[int, dict[str, str]]]
    label: str


def read_tables(
    source: Path, audio_dir: Path | None, label_columns: Sequence[str]
) -> AnnotationSet:
    """Read a selection table, or all tables in a folder; each selection once, of all its views.

    Raises:
        AnnotationError: a table cannot be read, or its label column is ambiguous.
    """
    collected = AnnotationSet()
    audio = AudioFolder(source, audio_dir)
    has_raven_suffix = source.is_dir() and any(source.rglob(f"*{SUFFIX}"))
    for path in track_files(source, SUFFIX if has_raven_suffix else ".txt"):
        table = _read(path, label_columns)
        if not table.rows:
            collected.skip(str(path), "no_events", "a table without selections")
        elif problem := _find_cumulative_times(table):
            collected.problems.append(problem)
        else:
            _read_rows(table, audio, collected)
    collected.notes += audio.notes
    return collected


def _read(path: Path, label_columns: Sequence[str]) -> _Table:
    lines = csv.reader(text_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    cells = [(number, row) for number, row in enumerate(lines, 1) if any(map(str.strip, row))]
    header = [name.strip() for name in cells[0][1]] if cells else []
    if not looks_like_table("\t".join(header)):
        raise AnnotationError(
            f"{path} is not a Raven selection table: its first line must name the tab-separated "
            "columns, Selection and Begin Time (s) among them"
        )
    names = [name.lower() for name in header]
    rows = [
        (number, dict(zip(names, [*row, *[""] * len(names)], strict=False)))
        for number, row in cells[1:]
    ]
    return _Table(path, _one_view(rows), _label_column(path, header, label_columns))


def _one_view(rows: list[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str]]]:
    """Each selection once, of the spectrogram if possible: Raven writes one row per view."""
    best: dict[str, tuple[int, dict[str, str]]] = {}
    for number, row in rows:
        key = row["selection"].strip() or f"line {number}"
        if key not in best or (_is_spectrogram(row) and not _is_spectrogram(best[key][1])):
            best[key] = (number, row)
    return sorted(best.values(), key=lambda pair: pair[0])


def _is_spectrogram(row: dict[str, str]) -> bool:
    return row.get("view", "").lower().startswith("spectrogram")


def _label_column(path: Path, header: Sequence[str], requested: Sequence[str]) -> str:
    names = [name.lower() for name in header]
    for name in requested:
        if name.lower() in names:
            return name.lower()
    other = [n for n in header if n and n.lower() not in _NON_LABEL_COLUMNS and not n.endswith(")")]
    label_like = [name for name in other if name.lower() in COLUMN_NAMES["label"]]
    choices = label_like if len(label_like) == 1 else other
    if requested or len(choices) != 1:
        raise AnnotationError(
            f"the label column of {path} is ambiguous: give it as --label-column; it has "
            f"{', '.join(repr(name) for name in other or header)}"
        )
    return choices[0].lower()


def _find_cumulative_times(table: _Table) -> ClipProblem | None:
    """A problem if a table covers several files without the times inside each."""
    files = {_audio_file_name(row) for _, row in table.rows}
    if len(files) < 2 or all(row.get(OFFSET, "").strip() for _, row in table.rows):
        return None
    reason = (
        f"its times are cumulative over {len(files)} files; add the measurement File Offset (s) in "
        "Raven and save the table again"
    )
    return ClipProblem(0, str(table.path), "cumulative_times", reason)


def _read_rows(table: _Table, audio: AudioFolder, collected: AnnotationSet) -> None:
    paths = _paths(table, audio)
    for number, row in table.rows:
        location = f"{table.path}, line {number}"
        path = paths[_audio_file_name(row)]
        if not row[table.label].strip():
            collected.skip(location, "unlabelled", "a selection without a label")
        elif isinstance(path, ClipProblem):
            collected.refuse(location, path.code, path.message)
        elif _ends_elsewhere(row):
            collected.refuse(location, "bad_times", "continues in another file; split it in two")
        else:
            source = Provenance(
                f"{FORMAT}:{table.path.name}", annotation_id=printable_text(row["selection"])
            )
            label, times = row[table.label], _times(row)
            collected.add(Clip(0, location, path, label, "", "", *times, provenance=source))


def _audio_file_name(row: dict[str, str]) -> str:
    return (row.get("begin path") or row.get("begin file") or "").strip()


def _ends_elsewhere(row: dict[str, str]) -> bool:
    pairs = (("begin path", "end path"), ("begin file", "end file"))
    return any(row.get(a) and row.get(b) and row[a] != row[b] for a, b in pairs)


def _times(row: dict[str, str]) -> tuple[float, float]:
    """Seconds inside the file."""
    begin, end = parse_seconds(row[BEGIN]), parse_seconds(row.get(END, ""))
    if not (_audio_file_name(row) and row.get(OFFSET, "").strip()):
        return begin, end
    offset = parse_seconds(row[OFFSET])
    return offset, offset + (end - begin)


def _paths(table: _Table, audio: AudioFolder) -> dict[str, Path | ClipProblem]:
    """The paths of the files that a table names; without a name, the file of the table's stem."""
    files = {_audio_file_name(row) for _, row in table.rows}
    paths: dict[str, Path | ClipProblem] = {}
    if "" in files:
        name = table.path.name
        suffix = SUFFIX if name.endswith(SUFFIX) else ".txt"
        stem = _TABLE_NUMBER.sub("", name.removesuffix(suffix))
        paths[""] = audio.find_by_name(table.path, stem, suffix)
    return paths | dict(locate_all(sorted(files - {""}), audio.folder))
