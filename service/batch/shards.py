"""A run that can be killed at any moment: what it works on, what is finished, and whose turn it is.

A folder beside the results holds it:

    job.json      settings that affect results, the inputs' hash, and whether the run is complete
    inputs.jsonl  every input, in order; a shard is a stretch of it
    parts/        the rows of each finished shard, written aside and renamed
    lock          held while a run works here

Shards are cut by the order of the inputs alone, and batches never reach across them. So every row
is the same whichever engine, worker or machine computed it, down to the last digit.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from earful.data.atomic_write import staged_file
from earful.service.batch.classify_inputs import Ended, OnRead, Options, hear
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.rows import Row
from earful.service.classifier import Classifier

SCHEMA_VERSION = 2
STATE, INPUTS, PARTS, LOCK = "job.json", "inputs.jsonl", "parts", "lock"
FETCHED = "fetched"
# (shards before, inputs each): few files still spread over all cores, many make few shards.
FIRST_SHARD = 8
_SHARD_SIZES = ((16, FIRST_SHARD), (48, 32), (80, 128), (144, 512))
_LARGEST_SHARD = 1024
_SHARD_BYTES = 16 << 20
_HELD_LINES = 1000
_TALLY_BYTES = 4096


@dataclass(frozen=True)
class Shard:
    """A stretch of the inputs: its number, first input, how many, and where its lines begin."""

    number: int
    first: int
    count: int
    offset: int


@dataclass(frozen=True)
class Tally:
    """How inputs fared: how many, seconds of audio heard, and failures by code."""

    inputs: int = 0
    seconds: float = 0.0
    failed: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def n_failed(self) -> int:
        return sum(self.failed.values())

    def __add__(self, other: "Tally") -> "Tally":
        failed = Counter(self.failed) + Counter(other.failed)
        return Tally(self.inputs + other.inputs, self.seconds + other.seconds, dict(failed))


# Each shard as it is finished.
Finished = Generator[tuple[Shard, Tally], None, None]


@dataclass(frozen=True)
class State:
    """What job.json holds; ``tally`` and ``results`` are there when the run is complete.

    ``placing`` is what the results will be, written before they are put where they are wanted: a
    run that is killed there finds its own.
    """

    settings: dict[str, Any]
    inputs: dict[str, Any]
    tally: dict[str, Any] | None = None
    results: dict[str, Any] | None = None
    placing: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, folder: Path) -> "State | None":
        """The state of a folder; None where there is none.

        Raises:
            BatchError: a state that cannot be read.
        """
        path = folder / STATE
        try:
            values = json.loads(path.read_text("utf-8"))
            if values["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema {values['schema_version']}")
            return cls(**values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BatchError(
                f"{path} is not the state of a run of this version ({error}); --restart begins anew"
            ) from error

    def save(self, folder: Path) -> None:
        with staged_file(folder / STATE) as staging:
            text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
            staging.write_text(text + "\n", "utf-8")

    def differences(self, other: "State", but: str = "") -> list[str]:
        """What another state would compute otherwise, for a person; all ``but`` one setting."""
        mine, theirs = self.settings, other.settings
        found = [
            f"{name} {mine.get(name)} -> {theirs.get(name)}"
            for name in sorted(mine.keys() | theirs.keys())
            if name != but and mine.get(name) != theirs.get(name)
        ]
        if self.inputs != other.inputs:
            counts = [f"{state.inputs['count']:,}" for state in (self, other)]
            same = counts[0] == counts[1]
            found.append(
                f"the inputs (as many, {counts[0]}, but others or changed)"
                if same
                else f"the inputs ({counts[0]} -> {counts[1]})"
            )
        return found


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, for this process alone; killed, it lets go.

    Raises:
        BatchError: another run works here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BatchError(
                f"another run works in {folder}; wait for it, or give another --out"
            ) from error
        for left in [*folder.glob(".*"), *(folder / PARTS).glob(".*")]:
            left.unlink()  # what a killed run was writing
        yield


@dataclass(frozen=True)
class Listing:
    """All inputs of a run, written down: what identifies them, and the shards they are cut into.

    truth  whether any of them says what its label ought to be
    once   whether it is audio on standard input, which cannot be read again
    """

    facts: dict[str, Any]
    shards: tuple[Shard, ...]
    truth: bool
    once: bool


def write_inputs(folder: Path, inputs: Iterable[Input]) -> Listing:
    """Write every input into the folder, and cut them into shards."""
    digest, truth, once, cut = hashlib.sha256(), False, False, _Cutter()
    with staged_file(folder / INPUTS) as staging, staging.open("wb") as file:
        for found in inputs:
            line = _line(found)
            digest.update(line)
            file.write(line)
            cut.add(len(line), found.n_bytes)
            truth = truth or bool(found.truth)
            once = found.source == STANDARD_INPUT
    facts = {"count": cut.count, "sha256": digest.hexdigest()}
    return Listing(facts, cut.shards(), truth, once)


class _Cutter:
    """Cuts inputs into shards as they come: by number, and by how much there is to read."""

    def __init__(self) -> None:
        self.count = 0
        self._shards: list[Shard] = []
        self._first = self._offset = self._position = self._n_bytes = 0

    def add(self, line_bytes: int, n_bytes: int) -> None:
        self.count += 1
        self._position += line_bytes
        self._n_bytes += max(0, n_bytes)
        number = len(self._shards)
        most = next((size for before, size in _SHARD_SIZES if number < before), _LARGEST_SHARD)
        if self.count - self._first >= most or self._n_bytes >= _SHARD_BYTES:
            self._close()

    def shards(self) -> tuple[Shard, ...]:
        if self.count > self._first:
            self._close()
        return tuple(self._shards)

    def _close(self) -> None:
        number, count = len(self._shards), self.count - self._first
        self._shards.append(Shard(number, self._first, count, self._offset))
        self._first, self._offset, self._n_bytes = self.count, self._position, 0


def _line(found: Input) -> bytes:
    values = (
        found.source, found.start_seconds, found.end_seconds, found.truth, found.n_bytes,
        found.stamp, found.problem,
    )  # fmt: skip
    return json.dumps(values).encode() + b"\n"


def read_inputs(folder: Path, shard: Shard) -> list[Input]:
    """The inputs of one shard."""
    with (folder / INPUTS).open("rb") as file:
        file.seek(shard.offset)
        return [Input(*json.loads(line)) for line in islice(file, shard.count)]


def part_of(folder: Path, shard: Shard) -> Path:
    """Where the rows of a finished shard are."""
    return folder / PARTS / f"{shard.number:08}.jsonl"


def write_part(
    folder: Path,
    shard: Shard,
    classifier: Classifier,
    options: Options,
    quarantined: Mapping[int, str] = MappingProxyType({}),
    on_read: OnRead = lambda source, seconds: None,
) -> Tally:
    """Classify one shard, but for the positions that are quarantined, and write its rows.

    Raises:
        InferenceError: the model fails.
        OutputError: the rows cannot be written.
    """
    inputs = [
        dataclasses.replace(found, problem=quarantined[position])
        if position in quarantined
        else found
        for position, found in enumerate(read_inputs(folder, shard))
    ]
    with (
        staged_file(part_of(folder, shard)) as staging,
        staging.open("w+", encoding="ascii") as file,
    ):
        tally = write_rows(file, hear(classifier, inputs, options, on_read))
        file.write(json.dumps(dataclasses.asdict(tally)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return tally


def write_rows(file: IO[str], events: Iterable[Row | Ended]) -> Tally:
    """Rows as lines; the rows of an input that fails are taken back, and its error stands there."""
    inputs, seconds, failed = 0, 0.0, Counter[str]()
    lines: list[str] = []  # of this input; those of a very long one are written on the way
    begin: int | None = None
    for event in events:
        if isinstance(event, Row):
            lines.append(event.to_line())
            if len(lines) >= _HELD_LINES:
                begin = file.tell() if begin is None else begin
                file.writelines(lines)
                lines.clear()
            continue
        inputs += 1
        seconds += event.seconds
        if event.problem:
            if begin is not None:
                file.seek(begin)
                file.truncate()
            lines = [event.error_row().to_line()]
            failed[event.problem.partition(":")[0]] += 1
        file.writelines(lines)
        lines.clear()
        begin = None
    return Tally(inputs, round(seconds, 3), dict(failed))


def is_finished(folder: Path, shard: Shard) -> bool:
    """Whether the rows of a shard are there, all of them."""
    try:
        with part_of(folder, shard).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TALLY_BYTES))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        return bool(json.loads(last)["inputs"] == shard.count)
    except (OSError, ValueError, TypeError, KeyError):  # missing, or not as it was written
        return False


def read_part(path: Path) -> Iterator[Row | Tally]:
    """The rows of a finished shard, and then their tally."""
    with path.open(encoding="ascii") as file:
        for line in file:
            yield Tally(**json.loads(line)) if line[0] == "{" else Row.of_line(line)


def tidy(folder: Path) -> None:
    """Remove what a complete run needs no longer."""
    for name in (PARTS, FETCHED):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / INPUTS).unlink(missing_ok=True)
