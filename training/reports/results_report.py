"""HTML report of the results of ``classify``: one self-contained file.

Results are streamed in one pass, so memory does not grow with the number of rows.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import soundfile

from earful.data.atomic_write import staged_file
from earful.data.labels.multilabel import sort_labels, split_labels
from earful.service.batch.errors import BatchError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.clip_media import path_link
from earful.training.reports.html_clips import (
    MAX_MEDIA_SECONDS,
    ClipMedia,
    html_templates,
    load_clip_media,
)
from earful.training.reports.recording_rows import RecordingRows

SCORE_BINS = 20
# Example files listed for each error code.
_MAX_EXAMPLES = 10
# Around the stretch of an event, which is played for at least so long.
MARGIN_SECONDS, _MIN_STRETCH_SECONDS = 0.25, 1.0


@dataclass
class ResultsSummary:
    """Counts and example rows of a results file.

    ``labelled`` rows have an expected label; ``correct`` ones are predicted with exactly their
    labels. ``confusion`` counts (expected, predicted) labels: each correct label of a row, and each
    pair of a missed and a wrongly predicted one. Where a file has several rows and one expected
    label, these say nothing: ``labelled_files`` are counted, and those with a row of that label.
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
    labelled_files: int = 0
    found_files: int = 0
    recordings: RecordingRows | None = None
    least_confident: list[ResultRow] = field(default_factory=list)
    most_confident_errors: list[ResultRow] = field(default_factory=list)


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
    recordings = summary.recordings
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
            recordings=recordings,
            rates=[rates.table() for rates in (recordings.by_day, recordings.by_time)]
            if recordings
            else [],
            heard=[
                load_row_media(row, folder, out)
                for row in (recordings.examples(clips) if recordings else ())
            ],
            least_confident=[load_row_media(row, folder, out) for row in summary.least_confident],
            most_confident_errors=[
                load_row_media(row, folder, out) for row in summary.most_confident_errors
            ],
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
    return summary


def summarise_results(
    rows: Iterable[ResultRow], clips: int, folder: Path = Path()
) -> ResultsSummary:
    """Summarise rows; keep the ``clips`` least confident ones and most confident errors.

    Headers of long recordings are read where their files are there, in ``folder``.
    """
    summary = ResultsSummary()
    recordings, labelled = RecordingRows(folder), _LabelledFiles()
    least_confident: list[tuple[float, int, ResultRow]] = []
    errors: list[tuple[float, int, ResultRow]] = []
    last_filename = None
    for number, row in enumerate(rows):
        summary.rows += 1
        summary.files += row.filename != last_filename
        last_filename = row.filename
        recordings.add(row)
        labelled.add(row)
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
    recordings.finish()
    labelled.finish()
    summary.recordings = recordings if recordings.files else None
    summary.least_confident = [row for _, _, row in sorted(least_confident, reverse=True)]
    summary.most_confident_errors = [row for _, _, row in sorted(errors, reverse=True)]
    if labelled.has_several_rows_a_file:
        summary.labelled = summary.correct = 0
        summary.confusion.clear()
        summary.most_confident_errors = []
        summary.labelled_files, summary.found_files = labelled.files, labelled.found
    return summary


@dataclass
class _LabelledFiles:
    """Files with an expected label, and those of them with a row that has it.

    Rows of a list that names parts of files have expected labels of their own: a file with two
    different ones shows that, and every row is then an answer.
    """

    files: int = 0
    found: int = 0
    _several_rows: bool = False
    _parts: bool = False
    _filename: str | None = None
    _expected: str = ""
    _labels: set[str] = field(default_factory=set)
    _rows: int = 0

    @property
    def has_several_rows_a_file(self) -> bool:
        return self._several_rows and not self._parts

    def add(self, row: ResultRow) -> None:
        if row.filename != self._filename:
            self.finish()
            self._filename, self._expected, self._rows = row.filename, row.expected, 0
            self._labels = set()
        self._parts |= row.expected != self._expected
        if not row.error:
            self._rows += 1
            self._labels.update(split_labels(row.label))

    def finish(self) -> None:
        if not self._expected:
            return
        self.files += 1
        self.found += set(split_labels(self._expected)) <= self._labels
        self._several_rows |= self._rows > 1
        self._expected = ""


def _count_labelled(summary: ResultsSummary, row: ResultRow) -> None:
    expected, predicted = set(split_labels(row.expected)), set(split_labels(row.label))
    summary.labelled += 1
    summary.correct += expected == predicted
    summary.confusion.update((label, label) for label in expected & predicted)
    summary.confusion.update(product(expected - predicted, predicted - expected))


def load_row_media(row: ResultRow, folder: Path, out: Path) -> RowWithMedia:
    """A row with its media: its stretch, or the loudest part of a long file.

    A short stretch of a longer recording is played with what is around it, and linked.
    """
    path = folder / row.filename
    start, end = row.start or 0.0, row.end or MAX_MEDIA_SECONDS
    if row.end is None or (start == 0.0 and end > MAX_MEDIA_SECONDS):
        return RowWithMedia(row, row.score or 0.0, load_clip_media(path, None))
    margin = max(MARGIN_SECONDS, (_MIN_STRETCH_SECONDS - (end - start)) / 2)
    seconds = _seconds(path)
    span = (max(0.0, start - margin), min(max(end, seconds), end + margin))
    is_part = (start > 0 or end < seconds) and end <= seconds
    link = path_link(path, (start, end), out) if is_part else ""
    return RowWithMedia(row, row.score or 0.0, load_clip_media(path, span), link)


def _seconds(path: Path) -> float:
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, OSError, ValueError):
        return 0.0


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
