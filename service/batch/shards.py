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
from earful.service.batch.classify_inputs import ClassifyOptions, InputEnd, OnRead, classify_inputs
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.rows import ResultRow
from earful.service.classifier import Classifier

SCHEMA_VERSION = 2
STATE_FILE, INPUTS_FILE, PARTS_FOLDER, LOCK_FILE = "job.json", "inputs.jsonl", "parts", "lock"
DOWNLOADS_FOLDER = "downloads"
# (shards before, inputs each): few files still spread over all cores, many make few shards.
FIRST_CHUNK_SIZE = 8
_CHUNK_SIZES = ((16, FIRST_CHUNK_SIZE), (48, 32), (80, 128), (144, 512))
_MAX_CHUNK_SIZE = 1024
_MAX_CHUNK_BYTES = 16 << 20
_MAX_BUFFERED_LINES = 1000
_STATS_BYTES = 4096


@dataclass(frozen=True)
class InputChunk:
    """A stretch of the inputs: its number, first input, how many, and where its lines begin."""

    number: int
    first: int
    count: int
    offset: int


@dataclass(frozen=True)
class RunStats:
    """How inputs fared: how many, seconds of audio heard, and failures by code."""

    inputs: int = 0
    seconds: float = 0.0
    failed: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def n_failed(self) -> int:
        return sum(self.failed.values())

    def __add__(self, other: "RunStats") -> "RunStats":
        failed = Counter(self.failed) + Counter(other.failed)
        return RunStats(self.inputs + other.inputs, self.seconds + other.seconds, dict(failed))


# Each shard as it is finished.
FinishedChunks = Generator[tuple[InputChunk, RunStats], None, None]


@dataclass(frozen=True)
class JobState:
    """What job.json holds; ``tally`` and ``results`` are there when the run is complete.

    ``placing`` is what the results will be, written before they are put where they are wanted: a
    run that is killed there finds its own.
    """

    settings: dict[str, Any]
    inputs: dict[str, Any]
    stats: dict[str, Any] | None = None
    results: dict[str, Any] | None = None
    pending_results: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, folder: Path) -> "JobState | None":
        """The state of a folder; None where there is none.

        Raises:
            BatchError: a state that cannot be read.
        """
        path = folder / STATE_FILE
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
        with staged_file(folder / STATE_FILE) as staging:
            text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
            staging.write_text(text + "\n", "utf-8")

    def differences(self, other: "JobState", ignoring: str = "") -> list[str]:
        """What another state would compute otherwise, for a person; all ``but`` one setting."""
        mine, theirs = self.settings, other.settings
        found = [
            f"{name} {mine.get(name)} -> {theirs.get(name)}"
            for name in sorted(mine.keys() | theirs.keys())
            if name != ignoring and mine.get(name) != theirs.get(name)
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
def lock_folder(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, for this process alone; killed, it lets go.

    Raises:
        BatchError: another run works here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BatchError(
                f"another run works in {folder}; wait for it, or give another --out"
            ) from error
        for left in [*folder.glob(".*"), *(folder / PARTS_FOLDER).glob(".*")]:
            left.unlink()  # what a killed run was writing
        yield


@dataclass(frozen=True)
class InputManifest:
    """All inputs of a run, written down: what identifies them, and the shards they are cut into.

    truth  whether any of them says what its label ought to be
    once   whether it is audio on standard input, which cannot be read again
    """

    fingerprint: dict[str, Any]
    chunks: tuple[InputChunk, ...]
    expected: bool
    read_once: bool


def write_inputs(folder: Path, inputs: Iterable[Input]) -> InputManifest:
    """Write every input into the folder, and cut them into shards."""
    digest, expected, read_once, planner = hashlib.sha256(), False, False, _ChunkPlanner()
    with staged_file(folder / INPUTS_FILE) as staging, staging.open("wb") as file:
        for found in inputs:
            line = _input_line(found)
            digest.update(line)
            file.write(line)
            planner.add(len(line), found.n_bytes)
            expected = expected or bool(found.expected)
            read_once = found.location == STANDARD_INPUT
    fingerprint = {"count": planner.count, "sha256": digest.hexdigest()}
    return InputManifest(fingerprint, planner.chunks(), expected, read_once)


class _ChunkPlanner:
    """Cuts inputs into shards as they come: by number, and by how much there is to read."""

    def __init__(self) -> None:
        self.count = 0
        self._shards: list[InputChunk] = []
        self._first = self._offset = self._position = self._n_bytes = 0

    def add(self, line_bytes: int, n_bytes: int) -> None:
        self.count += 1
        self._position += line_bytes
        self._n_bytes += max(0, n_bytes)
        number = len(self._shards)
        max_count = next(
            (size for before, size in _CHUNK_SIZES if number < before), _MAX_CHUNK_SIZE
        )
        if self.count - self._first >= max_count or self._n_bytes >= _MAX_CHUNK_BYTES:
            self._close()

    def chunks(self) -> tuple[InputChunk, ...]:
        if self.count > self._first:
            self._close()
        return tuple(self._shards)

    def _close(self) -> None:
        number, count = len(self._shards), self.count - self._first
        self._shards.append(InputChunk(number, self._first, count, self._offset))
        self._first, self._offset, self._n_bytes = self.count, self._position, 0


def _input_line(found: Input) -> bytes:
    values = (
        found.location, found.start_seconds, found.end_seconds, found.expected, found.n_bytes,
        found.change_tag, found.problem,
    )  # fmt: skip
    return json.dumps(values).encode() + b"\n"


def read_inputs(folder: Path, chunk: InputChunk) -> list[Input]:
    """The inputs of one shard."""
    with (folder / INPUTS_FILE).open("rb") as file:
        file.seek(chunk.offset)
        return [Input(*json.loads(line)) for line in islice(file, chunk.count)]


def part_path(folder: Path, chunk: InputChunk) -> Path:
    """Where the rows of a finished shard are."""
    return folder / PARTS_FOLDER / f"{chunk.number:08}.jsonl"


def classify_chunk(
    folder: Path,
    chunk: InputChunk,
    classifier: Classifier,
    options: ClassifyOptions,
    quarantined: Mapping[int, str] = MappingProxyType({}),
    on_read: OnRead = lambda source, seconds: None,
) -> RunStats:
    """Classify one shard, but for the positions that are quarantined, and write its rows.

    Raises:
        InferenceError: the model fails.
        OutputError: the rows cannot be written.
    """
    inputs = [
        dataclasses.replace(found, problem=quarantined[position])
        if position in quarantined
        else found
        for position, found in enumerate(read_inputs(folder, chunk))
    ]
    with (
        staged_file(part_path(folder, chunk)) as staging,
        staging.open("w+", encoding="ascii") as file,
    ):
        stats = write_rows(file, classify_inputs(classifier, inputs, options, on_read))
        file.write(json.dumps(dataclasses.asdict(stats)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return stats


def write_rows(file: IO[str], items: Iterable[ResultRow | InputEnd]) -> RunStats:
    """Rows as lines; the rows of an input that fails are taken back, and its error stands there."""
    inputs, seconds, failed = 0, 0.0, Counter[str]()
    lines: list[str] = []  # of this input; those of a very long one are written on the way
    start_offset: int | None = None
    for item in items:
        if isinstance(item, ResultRow):
            lines.append(item.to_json_line())
            if len(lines) >= _MAX_BUFFERED_LINES:
                start_offset = file.tell() if start_offset is None else start_offset
                file.writelines(lines)
                lines.clear()
            continue
        inputs += 1
        seconds += item.seconds
        if item.problem:
            if start_offset is not None:
                file.seek(start_offset)
                file.truncate()
            lines = [item.error_row().to_json_line()]
            failed[item.problem.partition(":")[0]] += 1
        file.writelines(lines)
        lines.clear()
        start_offset = None
    return RunStats(inputs, round(seconds, 3), dict(failed))


def is_finished(folder: Path, chunk: InputChunk) -> bool:
    """Whether the rows of a shard are there, all of them."""
    try:
        with part_path(folder, chunk).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STATS_BYTES))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        return bool(json.loads(last)["inputs"] == chunk.count)
    except (OSError, ValueError, TypeError, KeyError):  # missing, or not as it was written
        return False


def read_part(path: Path) -> Iterator[ResultRow | RunStats]:
    """The rows of a finished shard, and then their tally."""
    with path.open(encoding="ascii") as file:
        for line in file:
            yield RunStats(**json.loads(line)) if line[0] == "{" else ResultRow.from_json_line(line)


def cleanup(folder: Path) -> None:
    """Remove what a complete run needs no longer."""
    for name in (PARTS_FOLDER, DOWNLOADS_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / INPUTS_FILE).unlink(missing_ok=True)
