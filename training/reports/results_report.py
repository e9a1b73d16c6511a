"""HTML report of the results of ``classify``: one self-contained file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import write_text
from earful.data.labels.multilabel import sort_labels
from earful.service.batch.errors import BatchError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.clip_media import path_link
from earful.training.reports.html_clips import (
    MAX_MEDIA_SECONDS,
    ClipMedia,
    file_seconds,
    load_clip_media,
)
from earful.training.reports.html_page import render_page
from earful.training.reports.results_summary import ResultsSummary, summarise_results

# Around the stretch of an event, which is played for at least so long.
MARGIN_SECONDS, _MIN_STRETCH_SECONDS = 0.25, 1.0


@dataclass(frozen=True)
class RowWithMedia:
    """A row with its audio and spectrogram, and a link to its place in a long recording."""

    row: ResultRow
    score: float
    media: ClipMedia
    link: str = ""

    @property
    def is_incorrect(self) -> bool:
        """Whether the row has an expected label that differs from the predicted one."""
        return bool(self.row.expected) and not self.row.is_correct


def write_results_report(
    results: Path, out: Path, *, clips: int = 24, audio_dir: Path | None = None
) -> ResultsSummary:
    """Write the report of a results file, with players for ``clips`` clips of each section.

    Relative filenames are resolved against ``audio_dir``, or against the working directory.

    Raises:
        BatchError: the results cannot be read or hold no rows, or ``out`` is the results file.
        OutputError: ``out`` cannot be written.
    """
    if out.resolve() == results.resolve():
        raise BatchError(f"{out} is the results file; give another --out")
    folder = audio_dir or Path()
    summary = summarise_results(read_results(results), clips, folder)
    if not summary.rows:
        raise BatchError(f"{results} has no rows; run `earful classify` first")
    page = _page(results.name, summary, clips, folder, out)
    write_text(out, page)
    return summary


def _page(name: str, summary: ResultsSummary, clips: int, folder: Path, out: Path) -> str:
    def with_media(rows: Iterable[ResultRow]) -> list[RowWithMedia]:
        return [load_row_media(row, folder, out) for row in rows]

    recordings = summary.recordings
    rates = (recordings.by_day.table(), recordings.by_time.table()) if recordings else ()
    return render_page(
        "results.html",
        name=name,
        summary=summary,
        max_count=max([*summary.labels.values(), 1]),
        labels=sorted(summary.labels.items(), key=lambda item: (-item[1], item[0])),
        highest_bin=max([*summary.bins, 1]),
        accuracy=_accuracy(summary),
        confusion=_confusion_table(summary),
        errors=summary.errors.most_common(),
        recordings=recordings,
        rates=rates,
        heard=with_media(recordings.examples(clips) if recordings else ()),
        least_confident=with_media(summary.least_confident),
        most_confident_errors=with_media(summary.most_confident_errors),
    )


def load_row_media(row: ResultRow, folder: Path, out: Path) -> RowWithMedia:
    """A row with its media: its stretch, or the loudest part of a long file.

    A short stretch of a longer recording is played with what is around it, and linked.
    """
    path = folder / row.filename
    start, end, score = row.start or 0.0, row.end, row.score or 0.0
    if end is None or (start == 0.0 and end > MAX_MEDIA_SECONDS):
        return RowWithMedia(row, score, load_clip_media(path, None))
    margin = max(MARGIN_SECONDS, (_MIN_STRETCH_SECONDS - (end - start)) / 2)
    seconds = file_seconds(path)
    span = (max(0.0, start - margin), min(max(end, seconds), end + margin))
    is_part = (start > 0 or end < seconds) and end <= seconds
    link = path_link(path, (start, end), out) if is_part else ""
    return RowWithMedia(row, score, load_clip_media(path, span), link)


def _accuracy(summary: ResultsSummary) -> dict[str, float] | None:
    """Accuracy and its 95 % interval (Wilson) in percent; None without expected labels."""
    if not summary.labelled:
        return None
    low, high = wilson_interval(summary.correct, summary.labelled)
    share = summary.correct / summary.labelled
    return {"percent": 100 * share, "low": 100 * low, "high": 100 * high}


def _confusion_table(summary: ResultsSummary) -> Iterator[tuple[str, list[tuple[str, int, float]]]]:
    """Rows of the confusion table: expected label, then (label, count, share of the row)."""
    names = sort_labels([name for pair in summary.confusion for name in pair])
    for expected in names:
        total = sum(summary.confusion[expected, label] for label in names)
        if total:
            counts = [(label, summary.confusion[expected, label]) for label in names]
            yield expected, [(label, n, n / total) for label, n in counts]
