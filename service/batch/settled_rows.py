"""The rows of inputs that have ended, and their statistics.

An input may fail late. Its rows are kept until its end, and then replaced by an error.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from earful.data.text.json_input import STRICT
from earful.service.batch.classify_inputs import classify_inputs
from earful.service.batch.input_reader import OnRead
from earful.service.batch.inputs import Input
from earful.service.batch.items import ClassifyOptions, InputEnd
from earful.service.batch.rows import ResultRow
from earful.service.classifier import Classifier

# More rows of one input wait in a temporary file.
_MAX_ROWS_IN_MEMORY = 1000


@dataclass(frozen=True)
class RunStats:
    """Statistics of classified inputs: number, seconds of audio, and failures by error code.

    ``labelled`` counts inputs with one row whose list gives the correct label; of these,
    ``correct`` have it.
    """

    __pydantic_config__ = STRICT

    inputs: int = 0
    seconds: float = 0.0
    failed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    labelled: int = 0
    correct: int = 0

    @property
    def n_failed(self) -> int:
        return sum(self.failed.values())

    def __add__(self, other: "RunStats") -> "RunStats":
        failed = Counter(self.failed) + Counter(other.failed)
        return RunStats(
            self.inputs + other.inputs,
            self.seconds + other.seconds,
            dict(failed),
            self.labelled + other.labelled,
            self.correct + other.correct,
        )


def classify_rows(
    classifier: Classifier,
    inputs: Iterable[Input],
    options: ClassifyOptions,
    write: Callable[[ResultRow], object],
    on_read: OnRead = lambda source, seconds: None,
) -> RunStats:
    """Classify inputs, and write the rows of each in order, as soon as it has ended.

    Raises:
        ModelTimeout: the model does not end.
    """
    stats = settle_rows(classify_inputs(classifier, inputs, options, on_read), write)
    if options.mode in ("events", "windows"):  # they need not have the label of the clip
        stats = dataclasses.replace(stats, labelled=0, correct=0)
    return stats


def settle_rows(
    items: Iterable[ResultRow | InputEnd], write: Callable[[ResultRow], object]
) -> RunStats:
    """Write rows; an input that fails late has all its rows replaced by an error.

    An input that ``keeps_rows`` has the error after them.
    """
    inputs, seconds, failed = 0, 0.0, Counter[str]()
    labelled, correct = 0, 0
    rows = _WaitingRows()
    for item in items:
        if isinstance(item, ResultRow):
            rows.add(item)
            continue
        inputs += 1
        seconds += item.seconds
        if item.problem:
            if not item.keeps_rows:
                rows.clear()
            rows.add(item.error_row())
            failed[item.problem.partition(":")[0]] += 1
        elif (row := rows.only()) is not None and row.expected:
            labelled += 1
            correct += row.is_correct
        for row in rows.take():
            write(row)
    return RunStats(inputs, round(seconds, 3), dict(failed), labelled, correct)


class _WaitingRows:
    """The rows of one input until its end: the last ones in memory, those before in a file."""

    def __init__(self) -> None:
        self._rows: list[ResultRow] = []
        self._file: IO[str] | None = None

    def add(self, row: ResultRow) -> None:
        if len(self._rows) == _MAX_ROWS_IN_MEMORY:
            self._move_to_file()
        self._rows.append(row)

    def only(self) -> ResultRow | None:
        """The row, if there is a single one."""
        return self._rows[0] if len(self._rows) == 1 and self._file is None else None

    def take(self) -> Iterator[ResultRow]:
        """All rows in order; none is left."""
        if self._file is not None:
            self._file.seek(0)
            yield from map(ResultRow.from_json_line, self._file)
        yield from self._rows
        self.clear()

    def clear(self) -> None:
        self._rows.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move_to_file(self) -> None:
        import tempfile  # few recordings have so many rows

        if self._file is None:
            self._file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - `clear` closes it
        self._file.writelines(row.to_json_line() for row in self._rows)
        self._rows.clear()
