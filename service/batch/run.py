"""A whole run: list, compare with what was done before, work off the shards, put together."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from data.staging import OutputError
from models.device import Device
from service.batch.engines import Engine, Finished, LocalEngine, default_workers, run_on_ray
from service.batch.errors import BatchError
from service.batch.formats import FOLDER_FORMATS, INDEX, Layout, RowWriter, open_writer, text_writer
from service.batch.hear import Options
from service.batch.inputs import AUDIO_SUFFIXES, STANDARD_INPUT, Input, find_inputs, is_folder
from service.batch.job import (
    FIRST_SHARD,
    PARTS,
    Listing,
    Shard,
    State,
    Tally,
    locked,
    part_of,
    read_inputs,
    read_part,
    tidy,
    write_inputs,
    write_part,
)
from service.batch.scheduler import Piece
from service.batch.worker import Task
from service.classifier import Classifier

JOB_SUFFIX = ".job"
_RESULTS = "results"


@dataclass(frozen=True)
class Request:
    """What is asked for: inputs, model, what rows are made of them, and where they go."""

    paths: tuple[str, ...]
    model: Path
    out: Path | None
    form: str
    options: Options = field(default_factory=Options)
    reject: bool = False
    device: Device = "cpu"
    audio_dir: Path | None = None
    piece: Piece = field(default_factory=lambda: Piece(0, 1))
    restart: bool = False
    workers: int | None = None
    engine: Engine = "local"
    ray_address: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run went; ``kept`` inputs were finished before, all of them where nothing was done."""

    tally: Tally
    out: Path | None
    kept: int
    seconds: float


class Progress:
    """Hears how far a run is; this one tells nobody."""

    def begin(self, total: int, kept: int) -> None:
        """So many inputs there are, and so many of them were finished before."""

    def at(self, tally: Tally, reading: int) -> None:
        """What is finished, and how many inputs more have been read."""


def run(request: Request, progress: Progress | None = None) -> Outcome:
    """Classify all inputs; results are there whole, or not at all, and a run that ends goes on.

    Raises:
        BatchError: nothing to classify, or a run that cannot start or go on.
        EarshotError: what else is wrong with model, lists or the place to write to.
    """
    with contextlib.closing(_Run(request, progress or Progress())) as begun:
        return begun.finish()


class _Run:
    """One run from its beginning to its end."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self._request, self._progress = request, progress
        self._began = time.monotonic()
        self._stack = contextlib.ExitStack()
        self.out = None if request.out is None else request.piece.named(request.out)
        if self.out is not None:
            check_place(self.out, request.form)
        self._classifier = Classifier.open(request.model, request.device, reject=request.reject)
        top_k = min(request.options.top_k, len(self._classifier.labels))
        self._options = replace(request.options, top_k=top_k)
        self._task = Task(Path(), request.model, self._options, request.reject, request.device)

    def close(self) -> None:
        self._stack.close()

    def finish(self) -> Outcome:
        folder = self._stack.enter_context(_job_folder(self.out))
        self._task = replace(self._task, folder=folder)
        before = None if self._request.restart else State.load(folder)
        self._local = LocalEngine(self._task, self._request.workers or default_workers(self._task))
        self._stack.callback(self._local.stop)
        listing = self._list(folder, hurry=before is None or before.results is None)
        state = State(self._settings(), listing.facts)
        if before is not None and self._unfinished_or_there(before):
            changed = before.differences(state)
            if changed:
                raise BatchError(
                    f"{self.out} was begun otherwise: {'; '.join(changed)}. Give the command as it "
                    "was to go on, --restart to begin anew, or another --out"
                )
            if before.results is not None and before.tally is not None:
                tidy(folder)
                tally = Tally(**before.tally)
                return Outcome(tally, self.out, tally.inputs, time.monotonic() - self._began)
        else:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        state.save(folder)
        kept, tally = self._work(folder, listing)
        if self.out is not None:
            _put(folder / _RESULTS, self.out)
            finished = replace(state, tally=asdict(tally), results=_facts(self.out))
            finished.save(folder)
            tidy(folder)
        return Outcome(tally, self.out, kept, time.monotonic() - self._began)

    def _settings(self) -> dict[str, object]:
        """All that affects rows, beside the inputs."""
        request, piece = self._request, self._request.piece
        return {
            "model": self._classifier.bundle.sha256[:16],
            "provider": self._classifier.bundle.provider,
            "reject": request.reject,
            **asdict(self._options),
            "format": request.form,
            "shard": f"{piece.index} of {piece.count}",
        }

    def _list(self, folder: Path, *, hurry: bool) -> Listing:
        """Write down all inputs; where there is a hurry, workers start on the way."""
        request = self._request
        inputs = find_inputs(request.paths, request.audio_dir)
        if hurry and request.engine == "local":
            inputs = self._with_head_start(inputs)
        listed = write_inputs(folder, inputs)
        if not listed.shards:
            raise BatchError(
                f"no audio file under {', '.join(request.paths)} (looked for "
                f"{' '.join(sorted(AUDIO_SUFFIXES))})"
            )
        return listed

    def _with_head_start(self, inputs: Iterator[Input]) -> Iterator[Input]:
        for number, found in enumerate(inputs):
            if number % FIRST_SHARD == 1:  # one alone is done without them
                self._local.head_start(number)
            yield found

    def _unfinished_or_there(self, before: State) -> bool:
        """Whether there is something to go on with: results that are gone need not be kept."""
        if before.results is None:
            return True
        if self.out is None or not self.out.exists():
            return False
        if _facts(self.out) != before.results:
            raise BatchError(
                f"{self.out} was changed after it was written; --restart replaces it, or give "
                "another --out"
            )
        return True

    def _work(self, folder: Path, listing: Listing) -> tuple[int, Tally]:
        shards = self._request.piece.of(listing.shards)
        missing = [shard for shard in shards if not part_of(folder, shard).exists()]
        total = sum(shard.count for shard in shards)
        kept = total - sum(shard.count for shard in missing)
        self._progress.begin(total, kept)
        features = self._classifier.metadata.features
        layout = Layout(
            self._request.form, self._options.top_k, listing.facts["truth"],
            _base(self._request.paths), features.sample_rate_hz / 2,
        )  # fmt: skip
        with (
            self._writer(folder, layout) as writer,
            contextlib.closing(self._finished(missing)) as finished,
        ):
            tally = self._join(folder, shards, missing, finished, writer)
        return kept, tally

    def _finished(self, shards: Sequence[Shard]) -> Finished:
        """The shards as they are finished, by the engine that suits."""
        request = self._request
        if request.engine == "ray":
            return run_on_ray(self._task, shards, request.workers, request.ray_address)
        alone = request.out is None and [shard.count for shard in shards] == [1]
        if alone or self._is_standard_input(shards):
            return self._here(shards)
        return self._local.finish(shards, self._tick)

    def _is_standard_input(self, shards: Sequence[Shard]) -> bool:
        """Whether it is audio on standard input, which only this process has."""
        if self._request.paths != (STANDARD_INPUT,) or not shards:
            return False
        return read_inputs(self._task.folder, shards[0])[0].source == STANDARD_INPUT

    def _here(self, shards: Sequence[Shard]) -> Finished:
        """In this process: one recording is not worth starting another."""
        for shard in shards:
            yield (
                shard,
                write_part(
                    self._task.folder,
                    shard,
                    self._classifier,
                    self._options,
                    {},
                    lambda source: None,
                ),
            )

    def _tick(self, reading: int) -> None:
        self._progress.at(self._so_far, reading)

    def _join(
        self,
        folder: Path,
        shards: Sequence[Shard],
        missing: Sequence[Shard],
        finished: Finished,
        writer: RowWriter,
    ) -> Tally:
        """Write the rows of all shards in order, each as soon as those before it are there."""
        waiting = {shard.number for shard in missing}
        self._so_far = tally = Tally()
        for shard in shards:
            while shard.number in waiting:
                done, counts = next(finished)
                waiting.discard(done.number)
                self._so_far += counts
                self._progress.at(self._so_far, 0)
            path = part_of(folder, shard)
            for row in read_part(path):
                if isinstance(row, Tally):
                    tally += row
                else:
                    writer.write(row)
            if self.out is None:
                path.unlink()
        return tally

    @contextlib.contextmanager
    def _writer(self, folder: Path, layout: Layout) -> Iterator[RowWriter]:
        if self.out is None:
            yield text_writer(sys.stdout, layout)
            sys.stdout.flush()  # while Typer still handles a reader that has gone (head, say)
            return
        place = folder / _RESULTS
        _remove(place)
        try:
            with open_writer(place, layout) as writer:
                yield writer
        except OSError as error:
            raise OutputError(
                f"cannot write {place}: {error.strerror or error}; what is finished is kept, and "
                "the same command goes on from there"
            ) from error


def check_place(out: Path, form: str) -> None:
    """Refuse a place that holds something else.

    Raises:
        OutputError: a folder where a file is to be written, or the other way round.
    """
    if form not in FOLDER_FORMATS:
        if out.is_dir():
            raise OutputError(f"{out} is a folder; give the name of a file")
        if out.exists() and not out.is_file():
            raise OutputError(f"{out} is no regular file; give the name of one")
        return
    taken = out.is_dir() and any(out.iterdir()) and not (out / INDEX).is_file()
    if taken or (out.exists() and not out.is_dir()):
        raise OutputError(
            f"{out} exists and is no earlier result ({INDEX} is missing); give another"
        )


@contextlib.contextmanager
def _job_folder(out: Path | None) -> Iterator[Path]:
    """Where a run is kept, locked; removed where it has not come to anything."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="earshot-") as temporary:
            yield Path(temporary)
        return
    try:
        folder = out.resolve().with_name(out.name + JOB_SUFFIX)
        new = not folder.exists()
        with locked(folder):
            try:
                yield folder
            finally:
                if new and State.load(folder) is None:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def _base(paths: Sequence[str]) -> Path:
    """The folder above all that was named."""
    folders = [path if is_folder(path) else str(Path(path).parent) for path in paths]
    return Path(os.path.commonpath([Path(folder).absolute() for folder in folders]))


def _put(results: Path, out: Path) -> None:
    """Results to where they are wanted; what stood there goes."""
    out = out.resolve()
    if results.is_dir() and out.is_dir():
        shutil.rmtree(out)
    results.replace(out)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _facts(out: Path) -> dict[str, int]:
    """What tells whether somebody has changed the results since."""
    status = (out / INDEX if out.is_dir() else out).stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
