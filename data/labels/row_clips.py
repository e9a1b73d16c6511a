"""Clips of the rows of a labels CSV: their files are found, and their times become seconds."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from earful.data.audio.decode import END_TOLERANCE_SECONDS
from earful.data.labels.clip import Clip, RowProblem
from earful.data.labels.columns import Columns
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.find_files import find_files
from earful.data.labels.label_rows import LabelRow
from earful.data.labels.multilabel import join_labels, split_labels
from earful.data.labels.time_columns import TimeUnit
from earful.data.labels.times import FileLengths, Span, find_unit, find_window, is_window

_WINDOWS_PER_FILE = 1.2
# Start and end; None for a whole file.
Seconds = tuple[float | None, float | None]


def find_clips(
    rows: Sequence[LabelRow], columns: Columns, csv_path: Path, options: CsvOptions
) -> tuple[list[Clip], list[str]]:
    """The clip of each row, with its file and with times in seconds; and notes on both."""
    folder, given = options.audio_dir or csv_path.parent, options.audio_dir is not None
    found = find_files([row.filename for row in rows], folder, search_beside=not given)
    lengths = FileLengths()
    unit, note = find_row_unit(rows, columns, lambda row: found.paths[row.filename], lengths)
    paths = [found.paths[row.filename] for row in rows]
    times = [row_seconds(row, path, unit, lengths) for row, path in zip(rows, paths, strict=True)]
    window = _overhanging_window(times, len(found.paths))
    clips = [to_clip(*parts, window) for parts in zip(rows, paths, times, strict=True)]
    return clips, [*found.notes, note]


def find_row_unit(
    rows: Iterable[LabelRow | RowProblem],
    columns: Columns,
    path_of: Callable[[LabelRow], Path],
    lengths: FileLengths,
) -> tuple[TimeUnit, str]:
    """The unit of the times of rows, and a note if their numbers say it."""
    if columns.times is None:
        return "s", ""
    spans = [
        Span(row.line, path_of(row), row.start, row.end)
        for row in rows
        if isinstance(row, LabelRow) and row.start is not None and row.end is not None
    ]
    return find_unit(columns.times.unit, spans, lengths)


def row_seconds(row: LabelRow, path: Path, unit: TimeUnit, lengths: FileLengths) -> Seconds:
    """The start and end of a row in seconds of its file at ``path``."""
    if row.start is None or row.end is None:
        return None, None
    return lengths.to_seconds(row.start, unit, path), lengths.to_seconds(row.end, unit, path)


def to_clip(row: LabelRow, path: Path, times: Seconds, window: float | None = None) -> Clip:
    """The clip of a row; one as long as ``window`` may overhang by that much."""
    start, end = times
    overhang = window if window and is_window(start, end, window) else END_TOLERANCE_SECONDS
    return Clip(
        line=row.line,
        filename=row.filename,
        path=path,
        label=row.label,
        speaker=row.speaker,
        split=row.split,
        fold=row.fold,
        start_seconds=start,
        end_seconds=end,
        end_tolerance_seconds=overhang,
    )


def _overhanging_window(times: Sequence[Seconds], n_files: int) -> float | None:
    """The length of windows of one length, of which the last may reach beyond the end of its file.

    Only where files have several: one clip of each file is a cut-out, with times of its source.
    """
    timed = [(start, end) for start, end in times if start is not None and end is not None]
    return find_window(timed) if len(timed) >= _WINDOWS_PER_FILE * n_files else None


def without_repeats(clips: Iterable[Clip]) -> tuple[list[Clip], list[RowProblem]]:
    """The clips whose file and times are new, and a problem for each row that repeats one."""
    first: dict[tuple[str, float | None, float | None], Clip] = {}
    kept: list[Clip] = []
    repeated: list[RowProblem] = []
    for clip in clips:
        key = (str(clip.path), clip.start_seconds, clip.end_seconds)
        earlier = first.setdefault(key, clip)
        if earlier is clip:
            kept.append(clip)
            continue
        reason = _describe_repeat(clip, earlier)
        repeated.append(RowProblem(clip.line, clip.filename, "filename", clip.filename, reason))
    return kept, repeated


def _describe_repeat(clip: Clip, earlier: Clip) -> str:
    if clip.label == earlier.label:
        return f"repeats line {earlier.line}; keep one row per clip"
    both = join_labels([*split_labels(earlier.label), *split_labels(clip.label)])
    return (
        f"repeats line {earlier.line} with another label; keep one row per clip, for both labels "
        f"with {both!r}"
    )
