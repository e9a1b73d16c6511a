"""HTML report of the results of ``classify``: one self-contained file.

Results are streamed in one pass, so memory does not grow with the number of rows.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.labels.multilabel import sort_labels, split_labels
from earful.service.batch.errors import BatchError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import (
    MAX_MEDIA_SECONDS,
    ClipMedia,
    html_templates,
    load_clip_media,
)

SCORE_BINS = 20
# Example files listed for each error code.
_MAX_EXAMPLES = 10


@dataclass
class ResultsSummary:
    """Counts and example rows of a results file.

    ``labelled`` rows have an expected label; ``correct`` ones are predicted with exactly their
    labels. ``confusion`` counts (expected, predicted) labels: each correct label of a row, and each
    pair of a missed and a wrongly predicted one.
    """

    rows: int = 0
    files: int = 0
    labelled: int = 0
    correct: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    bins: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    errors: Counter[str] = field(default_factory=Counter)
    error_examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    least_confident: list[ResultRow] = field(default_factory=list)
    most_confident_errors: list[ResultRow] = field(default_factory=list)


@dataclass(frozen=True)
class RowWithMedia:
    """A row with its audio and spectrogram."""

    row: ResultRow
    score: float
    media: ClipMedia

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
    summary = summarise_results(read_results(results), clips)
    if not summary.rows:
        raise BatchError(f"{results} has no rows; run `earful classify` first")
    folder = audio_dir or Path()
    page = (
        html_templates()
        .get_template("results.html")
        .render(
            name=results.name,
            summary=summary,
            max_count=max([*summary.labels.values(), 1]),
            labels=sorted(summary.labels.items(), key=lambda item: (-item[1], item[0])),
            highest_bin=max([*summary.bins, 1]),
            accuracy=_accuracy(summary),
            confusion=_confusion_table(summary),
            errors=summary.errors.most_common(),
            least_confident=[load_row_media(row, folder) for row in summary.least_confident],
            most_confident_errors=[
                load_row_media(row, folder) for row in summary.most_confident_errors
            ],
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
    return summary


def summarise_results(rows: Iterable[ResultRow], clips: int) -> ResultsSummary:
    """Summarise rows; keep the ``clips`` least confident ones and most confident errors."""
    summary = ResultsSummary()
    least_confident: list[tuple[float, int, ResultRow]] = []
    errors: list[tuple[float, int, ResultRow]] = []
    last_filename = None
    for number, row in enumerate(rows):
        summary.rows += 1
        summary.files += row.filename != last_filename
        last_filename = row.filename
        if row.error:
            _count_error(summary, row)
            continue
        if row.score is None:
            summary.labels["(no hit)"] += 1
            continue
        score = row.score
        summary.labels.update(split_labels(row.label))
        summary.bins[min(int(score * SCORE_BINS), SCORE_BINS - 1)] += 1
        _keep_highest(least_confident, (-score, -number, row), clips)
        if row.expected:
            _count_labelled(summary, row)
            if not row.is_correct:
                _keep_highest(errors, (score, -number, row), clips)
    summary.least_confident = [row for _, _, row in sorted(least_confident, reverse=True)]
    summary.most_confident_errors = [row for _, _, row in sorted(errors, reverse=True)]
    return summary


def _count_labelled(summary: ResultsSummary, row: ResultRow) -> None:
    expected, predicted = set(split_labels(row.expected)), set(split_labels(row.label))
    summary.labelled += 1
    summary.correct += expected == predicted
    summary.confusion.update((label, label) for label in expected & predicted)
    summary.confusion.update(product(expected - predicted, predicted - expected))


def load_row_media(row: ResultRow, folder: Path) -> RowWithMedia:
    """A row with its media: its window, or the loudest part of a long file."""
    start, end = row.start or 0.0, row.end or MAX_MEDIA_SECONDS
    is_whole_file = start == 0.0 and end > MAX_MEDIA_SECONDS
    media = load_clip_media(folder / row.filename, None if is_whole_file else (start, end))
    return RowWithMedia(row, row.score or 0.0, media)


def _keep_highest(
    heap: list[tuple[float, int, ResultRow]], item: tuple[float, int, ResultRow], max_items: int
) -> None:
    if len(heap) < max_items:
        heapq.heappush(heap, item)
    elif max_items:
        heapq.heappushpop(heap, item)


def _count_error(summary: ResultsSummary, row: ResultRow) -> None:
    code, _, message = row.error.partition(": ")
    summary.errors[code] += 1
    examples = summary.error_examples.setdefault(code, [])
    if len(examples) < _MAX_EXAMPLES:
        examples.append((row.filename, message))


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
