"""Clips of the rows of a labels CSV: their files are found, and their times become seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.columns import Columns
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.find_files import find_files
from earful.data.labels.multilabel import distinct_labels, join_labels
from earful.data.labels.time_columns import TimeUnit
from earful.data.labels.times import FileLengths, find_unit, find_window, is_window

_WINDOWS_PER_FILE = 1.2


def find_clips(
    rows: Sequence[Clip], columns: Columns, csv_path: Path, options: CsvOptions
) -> tuple[list[Clip], list[str]]:
    """The rows with their files and with times in seconds; and notes on both."""
    folder, given = options.audio_dir or csv_path.parent, options.audio_dir is not None
    paths, notes = find_files([row.filename for row in rows], folder, search_beside=not given)
    located = [replace(row, path=paths[row.filename]) for row in rows]
    lengths = FileLengths()
    unit, note = find_row_unit(located, columns, lengths)
    clips = [in_seconds(clip, unit, lengths) for clip in located]
    return _with_overhang(clips, len(paths)), [*notes, note]


def find_row_unit(
    rows: Iterable[Clip | ClipProblem], columns: Columns, lengths: FileLengths
) -> tuple[TimeUnit, str]:
    """The unit of the times of rows, and a note if their numbers say it."""
    if columns.times is None:
        return "s", ""
    timed = [row for row in rows if isinstance(row, Clip) and row.span is not None]
    return find_unit(columns.times.unit, timed, lengths)


def in_seconds(row: Clip, unit: TimeUnit, lengths: FileLengths) -> Clip:
    """A row whose times were in ``unit``."""
    span = None if unit == "s" else lengths.in_seconds(row, unit)
    return row if span is None else replace(row, start_seconds=span[0], end_seconds=span[1])


def _with_overhang(clips: list[Clip], n_files: int) -> list[Clip]:
    """The clips, of which windows of one length may reach beyond the end of their file by as much.

    Only where files have several: one clip of each file is a cut-out, with times of its source.
    """
    spans = [clip.span for clip in clips if clip.span is not None]
    window = find_window(spans) if len(spans) >= _WINDOWS_PER_FILE * n_files else None
    if not window:
        return clips
    return [
        replace(clip, end_tolerance_seconds=window) if is_window(clip.span, window) else clip
        for clip in clips
    ]


def without_repeats(clips: Iterable[Clip]) -> tuple[list[Clip], list[ClipProblem]]:
    """The clips whose file and times are new, and a problem for each row that repeats one."""
    first: dict[tuple[str, float | None, float | None], Clip] = {}
    kept: list[Clip] = []
    repeated: list[ClipProblem] = []
    for clip in clips:
        key = (str(clip.path), clip.start_seconds, clip.end_seconds)
        earlier = first.setdefault(key, clip)
        if earlier is clip:
            kept.append(clip)
            continue
        name, reason = clip.filename, _describe_repeat(clip, earlier)
        repeated.append(ClipProblem.of_row(clip.line, name, "filename", name, reason))
    return kept, repeated


def _describe_repeat(clip: Clip, earlier: Clip) -> str:
    if clip.label == earlier.label:
        return f"repeats line {earlier.line}; keep one row per clip"
    both = join_labels(distinct_labels([earlier.label, clip.label]))
    return (
        f"repeats line {earlier.line} with another label; keep one row per clip, for both labels "
        f"with {both!r}"
    )
