"""Splits the inputs of a run into chunks, and keeps the rows of finished chunks.

``inputs.jsonl`` in the job folder lists all inputs; a chunk is a range of its lines. The rows of a
chunk are written to a temporary file that is renamed when the chunk is finished, so that a killed
run loses only unfinished chunks.

Chunks depend on the list of inputs alone, and a batch never spans two chunks. So every row is the
same to the last digit whichever engine, worker or machine computes it.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from earful.data.atomic_write import staged_file
from earful.data.text.json_input import STRICT
from earful.service.batch.input_reader import OnRead
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.request import ShardSpec
from earful.service.batch.rows import ResultRow
from earful.service.batch.settled_rows import RunStats, classify_rows
from earful.service.classifier import Classifier

INPUTS_FILE, PARTS_FOLDER, DOWNLOADS_FOLDER = "inputs.jsonl", "parts", "downloads"
# (up to chunk number, inputs per chunk): chunks grow, so that few files spread over all cores and
# many files make few chunks.
FIRST_CHUNK_SIZE = 8
_CHUNK_SIZES = ((16, FIRST_CHUNK_SIZE), (48, 32), (80, 128), (144, 512))
_MAX_CHUNK_SIZE = 1024
_MAX_CHUNK_BYTES = 16 << 20
_STATS_BYTES = 4096
_INPUT_FIELDS = tuple(field.name for field in dataclasses.fields(Input))


@dataclass(frozen=True)
class InputChunk:
    """A range of the inputs.

    number  of the chunk, from 0
    first   index of its first input
    count   number of inputs
    offset  byte offset of its first line in ``inputs.jsonl``
    """

    number: int
    first: int
    count: int
    offset: int


# Each chunk when it is finished.
FinishedChunks = Generator[tuple[InputChunk, RunStats], None, None]


@dataclass(frozen=True)
class InputsFingerprint:
    """Count and hash of the inputs, to detect others."""

    __pydantic_config__ = STRICT

    count: int
    sha256: str


@dataclass(frozen=True)
class InputManifest:
    """The inputs of a run as written to ``inputs.jsonl``.

    expected     whether any input has a correct label
    read_once    whether the input is audio on standard input, which cannot be read again
    """

    fingerprint: InputsFingerprint
    chunks: tuple[InputChunk, ...]
    expected: bool
    read_once: bool


def write_inputs(folder: Path, inputs: Iterable[Input]) -> InputManifest:
    """Write every input into the folder, and split them into chunks."""
    digest, expected, read_once, planner = hashlib.sha256(), False, False, _ChunkPlanner()
    with staged_file(folder / INPUTS_FILE) as staging, staging.open("wb") as file:
        for source in inputs:
            line = json.dumps([getattr(source, name) for name in _INPUT_FIELDS]).encode() + b"\n"
            digest.update(line)
            file.write(line)
            planner.add(len(line), source.n_bytes)
            expected = expected or bool(source.expected)
            read_once = source.location == STANDARD_INPUT
    fingerprint = InputsFingerprint(planner.count, digest.hexdigest())
    return InputManifest(fingerprint, planner.chunks(), expected, read_once)


class _ChunkPlanner:
    """Splits a stream of inputs into chunks, limited by number of inputs and by bytes of audio."""

    def __init__(self) -> None:
        self.count = 0
        self._chunks: list[InputChunk] = []
        self._first = self._offset = self._position = self._n_bytes = 0

    def add(self, line_bytes: int, n_bytes: int) -> None:
        self.count += 1
        self._position += line_bytes
        self._n_bytes += max(0, n_bytes)
        number = len(self._chunks)
        max_count = next(
            (size for before, size in _CHUNK_SIZES if number < before), _MAX_CHUNK_SIZE
        )
        if self.count - self._first >= max_count or self._n_bytes >= _MAX_CHUNK_BYTES:
            self._close()

    def chunks(self) -> tuple[InputChunk, ...]:
        if self.count > self._first:
            self._close()
        return tuple(self._chunks)

    def _close(self) -> None:
        number, count = len(self._chunks), self.count - self._first
        self._chunks.append(InputChunk(number, self._first, count, self._offset))
        self._first, self._offset, self._n_bytes = self.count, self._position, 0


def select_chunks(chunks: Sequence[InputChunk], shard: ShardSpec) -> list[InputChunk]:
    """The chunks of a shard: consecutive, with about the same number of inputs per shard."""
    total = chunks[-1].first + chunks[-1].count if chunks else 0
    return [chunk for chunk in chunks if chunk.first * shard.count // total == shard.index]


def read_inputs(folder: Path, chunk: InputChunk) -> list[Input]:
    """The inputs of one chunk."""
    with (folder / INPUTS_FILE).open("rb") as file:
        file.seek(chunk.offset)
        lines = b",".join(islice(file, chunk.count))  # parsed at once: half the time
    return [Input(*values) for values in json.loads(b"[" + lines + b"]")]


def part_path(folder: Path, chunk: InputChunk) -> Path:
    """The file with the rows of a finished chunk."""
    return folder / PARTS_FOLDER / f"{chunk.number:08}.jsonl"


def classify_chunk(
    folder: Path,
    chunk: InputChunk,
    classifier: Classifier,
    options: ClassifyOptions,
    quarantined: Mapping[int, str] = MappingProxyType({}),
    on_read: OnRead = lambda source, seconds: None,
) -> RunStats:
    """Classify one chunk and write its rows.

    ``quarantined`` gives the problem of inputs that are not read, by their position in the chunk.

    Raises:
        ModelTimeout: the model does not end.
        OutputError: the rows cannot be written.
    """
    inputs = read_inputs(folder, chunk)
    for position, problem in quarantined.items():
        inputs[position] = dataclasses.replace(inputs[position], problem=problem)
    with (
        staged_file(part_path(folder, chunk)) as staging,
        staging.open("w", encoding="ascii") as file,
    ):

        def write(row: ResultRow) -> None:
            file.write(row.to_json_line())

        stats = classify_rows(classifier, inputs, options, write, on_read)
        file.write(json.dumps(dataclasses.asdict(stats)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return stats


def is_finished(folder: Path, chunk: InputChunk) -> bool:
    """Whether all rows of a chunk have been written."""
    try:
        with part_path(folder, chunk).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STATS_BYTES))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        return bool(json.loads(last)["inputs"] == chunk.count)
    except (OSError, ValueError, TypeError, KeyError):  # missing or damaged
        return False


def read_part(path: Path) -> Iterator[ResultRow | RunStats]:
    """Yield the rows of a finished chunk, then its statistics."""
    with path.open(encoding="ascii") as file:
        for line in file:
            yield RunStats(**json.loads(line)) if line[0] == "{" else ResultRow.from_json_line(line)


def cleanup(folder: Path) -> None:
    """Remove the files that a finished run no longer needs."""
    for name in (PARTS_FOLDER, DOWNLOADS_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / INPUTS_FILE).unlink(missing_ok=True)
