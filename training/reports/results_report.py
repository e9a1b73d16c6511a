"""Results of ``classify`` as one HTML file to look at: it needs no other file and no network.

Read once, row by row; only what is shown is kept, so that a hundred million rows are as light as a
hundred.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.labels.multilabel import sort_labels, normalise_label, split_labels
from earful.service.batch.errors import BatchError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import SHOWN_SECONDS, Shown, show, templates

BINS = 20
# Of errors, so many names a cause are shown.
_EXAMPLES = 10


@dataclass
class Findings:
    """What a report tells, gathered row by row.

    Of ``labelled`` rows the list says what is in them; ``right`` are answered so, with all of their
    labels and no other. ``confusion`` counts (label of the list, label heard): labels that were
    found, and pairs of one that was missed and one that was heard in the same row.
    """

    rows: int = 0
    files: int = 0
    labelled: int = 0
    right: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    errors: Counter[str] = field(default_factory=Counter)
    error_examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    least_certain: list[ResultRow] = field(default_factory=list)
    surest_mistakes: list[ResultRow] = field(default_factory=list)


@dataclass(frozen=True)
class ShownRow:
    """A row with its sound and picture."""

    row: ResultRow
    score: float
    shown: Shown

    @property
    def denied(self) -> bool:
        """Whether the list says otherwise."""
        return bool(self.row.expected) and not _agrees(self.row)


def write_results_report(
    results: Path, out: Path, *, clips: int = 24, audio_dir: Path | None = None
) -> Findings:
    """Write the report of a file of results; ``clips`` of each kind can be heard.

    Relative names are looked up in ``audio_dir``, or in the working folder.

    Raises:
        BatchError: the results cannot be read, or there are none.
        OutputError: ``out`` cannot be written.
    """
    if out.resolve() == results.resolve():
        raise BatchError(f"{out} holds the results; give another --out")
    found = gather(read_results(results), clips)
    if not found.rows:
        raise BatchError(f"{results} holds no row; classify something first")
    folder = audio_dir or Path()
    page = (
        templates()
        .get_template("results.html")
        .render(
            name=results.name,
            found=found,
            most=max([*found.labels.values(), 1]),
            labels=sorted(found.labels.items(), key=lambda item: (-item[1], item[0])),
            highest_bin=max([*found.bins, 1]),
            agreement=_agreement(found),
            table=_table(found),
            errors=found.errors.most_common(),
            least_certain=[show_row(row, folder) for row in found.least_certain],
            surest_mistakes=[show_row(row, folder) for row in found.surest_mistakes],
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
    return found


def gather(rows: Iterable[ResultRow], clips: int) -> Findings:
    """All that a report tells of the rows, with the ``clips`` rows of each kind worth hearing."""
    found = Findings()
    unsure: list[tuple[float, int, ResultRow]] = []
    mistaken: list[tuple[float, int, ResultRow]] = []
    last = None
    for number, row in enumerate(rows):
        found.rows += 1
        found.files += row.filename != last
        last = row.filename
        if row.error:
            _count_error(found, row)
            continue
        if row.score is None:
            found.labels["(no hit)"] += 1
            continue
        score = row.score
        found.labels.update(split_labels(row.label))
        found.bins[min(int(score * BINS), BINS - 1)] += 1
        _keep(unsure, (-score, -number, row), clips)
        if row.expected:
            _count_truth(found, row)
            if not _agrees(row):
                _keep(mistaken, (score, -number, row), clips)
    found.least_certain = [row for _, _, row in sorted(unsure, reverse=True)]
    found.surest_mistakes = [row for _, _, row in sorted(mistaken, reverse=True)]
    return found


def _agrees(row: ResultRow) -> bool:
    return normalise_label(row.expected) == normalise_label(row.label)


def _count_truth(found: Findings, row: ResultRow) -> None:
    truth, heard = set(split_labels(row.expected)), set(split_labels(row.label))
    found.labelled += 1
    found.right += truth == heard
    found.confusion.update((label, label) for label in truth & heard)
    found.confusion.update(product(truth - heard, heard - truth))


def show_row(row: ResultRow, folder: Path) -> ShownRow:
    """A row with what it sounds and looks like: a window, or where a longer file is loudest."""
    start, end = row.start or 0.0, row.end or SHOWN_SECONDS
    whole = start == 0.0 and end > SHOWN_SECONDS
    shown = show(folder / row.filename, None if whole else (start, end))
    return ShownRow(row, row.score or 0.0, shown)


def _keep(heap: list[tuple[float, int, ResultRow]], item: tuple[float, int, ResultRow], most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, item)
    elif most:
        heapq.heappushpop(heap, item)


def _count_error(found: Findings, row: ResultRow) -> None:
    code, _, message = row.error.partition(": ")
    found.errors[code] += 1
    examples = found.error_examples.setdefault(code, [])
    if len(examples) < _EXAMPLES:
        examples.append((row.filename, message))


def _agreement(found: Findings) -> dict[str, float] | None:
    if not found.labelled:
        return None
    low, high = wilson_interval(found.right, found.labelled)
    return {
        "accuracy": 100 * found.right / found.labelled, "low": 100 * low, "high": 100 * high
    }  # fmt: skip


def _table(found: Findings) -> Iterator[tuple[str, list[tuple[str, int, float]]]]:
    """Rows of the confusion table: the label of the list, and (label, clips, share) across."""
    names = sort_labels([name for pair in found.confusion for name in pair])
    for truth in names:
        total = sum(found.confusion[truth, label] for label in names)
        if total:
            counts = [(label, found.confusion[truth, label]) for label in names]
            yield truth, [(label, n, n / total) for label, n in counts]
