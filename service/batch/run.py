"""A whole run: list, compare with what was done before, work off the shards, put together."""

import contextlib
import io
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from earful.data.atomic_write import OutputError
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.models.bundle.device import Device
from earful.models.bundle.runtime import onnxruntime
from earful.service.batch.classify_inputs import Options
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import FOLDER_FORMATS, Layout, RowWriter, open_writer, text_writer
from earful.service.batch.inputs import Input, find_inputs, is_folder
from earful.service.batch.output_folder import check_place, facts_of, job_folder, put, remove
from earful.service.batch.scheduler import Piece
from earful.service.batch.shards import (
    FIRST_SHARD,
    PARTS,
    Finished,
    Listing,
    Shard,
    State,
    Tally,
    is_finished,
    part_of,
    read_part,
    tidy,
    write_inputs,
    write_part,
)
from earful.service.batch.worker import Task
from earful.service.classifier import Classifier

if TYPE_CHECKING:
    from earful.service.batch.engines import LocalEngine

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
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run went. ``kept`` inputs were finished before; ``repeated``: nothing was to do."""

    tally: Tally
    out: Path | None
    kept: int
    seconds: float
    repeated: bool = False


class Progress:
    """Hears how far a run is; this one tells nobody."""

    def begin(self, total: int, kept: int) -> None:
        """So many inputs there are, and so many of them were finished before."""

    def at(self, tally: Tally, reading: int, seconds: float) -> None:
        """What is finished; how many inputs more were read, and seconds heard of long ones."""


def run(request: Request, progress: Progress | None = None) -> Outcome:
    """Classify all inputs; results are there whole, or not at all, and a run that ends goes on.

    Raises:
        BatchError: nothing to classify, or a run that cannot start or go on.
        EarfulError: what else is wrong with model, lists or the place to write to.
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
            check_place(self.out, request.form, request.paths)
        self._classifier = Classifier.open(request.model, request.device, reject=request.reject)
        top_k = min(request.options.top_k, len(self._classifier.labels))
        self._options = replace(request.options, top_k=top_k)
        sha256 = self._classifier.bundle.sha256
        self._task = Task(
            Path(), request.model, sha256, self._options, request.reject, request.device
        )

    def close(self) -> None:
        self._stack.close()

    def finish(self) -> Outcome:
        folder = self._stack.enter_context(job_folder(self.out))
        self._task = replace(self._task, folder=folder)
        before = None if self._request.restart else State.load(folder)
        listing = self._list(folder, hurry=before is None or before.results is None)
        if self.out is None:
            _, tally = self._work(folder, listing)
            return Outcome(tally, None, 0, time.monotonic() - self._began)
        state = State(self._settings(), listing.facts)
        if before is not None and not listing.once and self._unfinished_or_there(before):
            changed = before.differences(state)
            if changed:
                raise BatchError(
                    f"{self.out} was begun otherwise: {'; '.join(changed)}. Give the command as it "
                    "was to go on, --restart to begin anew, or another --out"
                )
            if before.results is not None and before.tally is not None:
                tidy(folder)
                tally = Tally(**before.tally)
                seconds = time.monotonic() - self._began
                return Outcome(tally, self.out, tally.inputs, seconds, repeated=True)
        else:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        state.save(folder)
        kept, tally = self._work(folder, listing)
        facts = facts_of(folder / _RESULTS)  # a rename changes none of them
        state = replace(state, placing=facts)
        state.save(folder)
        put(folder / _RESULTS, self.out)
        replace(state, tally=asdict(tally), results=facts).save(folder)
        tidy(folder)
        return Outcome(tally, self.out, kept, time.monotonic() - self._began)

    @cached_property
    def _local(self) -> "LocalEngine":
        """Worker processes; one recording does without them, and without what they import."""
        from earful.service.batch.engines import LocalEngine, default_workers

        workers = self._request.workers or default_workers(self._classifier.bundle.provider)
        engine = LocalEngine(self._task, workers)
        self._stack.callback(engine.stop)
        return engine

    def _settings(self) -> dict[str, object]:
        """All that affects rows, beside the inputs."""
        from importlib.metadata import version

        request, piece = self._request, self._request.piece
        return {
            "model": self._classifier.bundle.sha256[:16],
            "provider": self._classifier.bundle.provider,
            "reject": request.reject,
            **asdict(self._options),
            "format": request.form,
            "laid out from": str(_base(request.paths)) if request.form in FOLDER_FORMATS else "",
            "earful": version("earful"),
            "onnxruntime": onnxruntime.__version__,
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
        if facts_of(self.out) != before.results:
            raise BatchError(
                f"{self.out} was changed after it was written; --restart replaces it, or give "
                "another --out"
            )
        return True

    def _work(self, folder: Path, listing: Listing) -> tuple[int, Tally]:
        shards = self._request.piece.of(listing.shards)
        missing = [shard for shard in shards if not is_finished(folder, shard)]
        total = sum(shard.count for shard in shards)
        kept = total - sum(shard.count for shard in missing)
        self._progress.begin(total, kept)
        features = self._classifier.metadata.features
        layout = Layout(
            self._request.form, self._options.top_k, self._classifier.says_several, listing.truth,
            _base(self._request.paths), features.sample_rate_hz / 2,
        )  # fmt: skip
        with (
            self._writer(folder, layout) as writer,
            contextlib.closing(self._finished(missing, once=listing.once)) as finished,
        ):
            tally = self._join(folder, shards, missing, finished, writer)
        return kept, tally

    def _finished(self, shards: Sequence[Shard], *, once: bool) -> Finished:
        """The shards as they are finished, by the engine that suits."""
        request = self._request
        alone = request.out is None and [shard.count for shard in shards] == [1]
        if alone or once:  # standard input is this process's alone
            return self._here(shards)
        if request.engine == "ray":
            from earful.service.batch.engines import run_on_ray

            return run_on_ray(self._task, shards, request.workers, request.ray_address)
        return self._local.finish(shards, self._tick)

    def _here(self, shards: Sequence[Shard]) -> Finished:
        """In this process: one recording is not worth starting another."""
        folder, options = self._task.folder, self._options
        for shard in shards:
            yield shard, write_part(folder, shard, self._classifier, options)

    def _tick(self, reading: int, seconds: float) -> None:
        self._progress.at(self._so_far, reading, seconds)

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
                self._progress.at(self._so_far, 0, 0.0)
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
            if isinstance(sys.stdout, io.TextIOWrapper):  # a name that a terminal cannot show
                sys.stdout.reconfigure(errors="backslashreplace")
            yield text_writer(sys.stdout, layout)
            sys.stdout.flush()  # while Typer still handles a reader that has gone (head, say)
            return
        place = folder / _RESULTS
        remove(place)
        try:
            with open_writer(place, layout) as writer:
                yield writer
        except OSError as error:
            raise OutputError(
                f"cannot write {place}: {error.strerror or error}; what is finished is kept, and "
                "the same command goes on from there"
            ) from error


def _base(paths: Sequence[str]) -> Path:
    """The folder above all that was named."""
    folders = [path if is_folder(path) else str(Path(path).parent) for path in paths]
    return Path(os.path.commonpath([Path(folder).absolute() for folder in folders]))
