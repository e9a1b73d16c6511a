"""Counts and example rows of the results of ``classify``.

Results are streamed in one pass, so memory does not grow with the number of rows.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from earful.data.labels.multilabel import split_labels
from earful.service.batch.rows import ResultRow
from earful.training.reports.recording_rows import RecordingRows

SCORE_BINS = 20
# Counted in place of a label: a recording without events, or without a window that scores enough.
NO_LABEL = "(no label)"
# Example files listed for each error code.
_MAX_EXAMPLES = 10


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
            summary.labels[NO_LABEL] += 1
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
