"""A batch run: list the inputs, resume an earlier run, classify the chunks, write the results."""

import contextlib
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
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.models.bundle.device import Device
from earful.models.bundle.event_options import check_labels
from earful.models.bundle.runtime import onnxruntime
from earful.service.batch.chunks import (
    FIRST_CHUNK_SIZE,
    PARTS_FOLDER,
    FinishedChunks,
    InputChunk,
    InputManifest,
    RunStats,
    classify_chunk,
    cleanup,
    is_finished,
    part_path,
    read_part,
    write_inputs,
)
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import (
    FOLDER_FORMATS,
    RowLayout,
    RowWriter,
    open_writer,
    text_writer,
)
from earful.service.batch.inputs import Input, find_inputs, is_folder
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.job_state import JobState
from earful.service.batch.output_folder import (
    check_output,
    job_folder,
    publish_results,
    remove_path,
    results_fingerprint,
)
from earful.service.batch.scheduler import ShardSpec
from earful.service.batch.worker import WorkerConfig
from earful.service.classifier import Classifier
from earful.service.core.echo import ResultStream

if TYPE_CHECKING:
    from earful.service.batch.engines import LocalEngine

_RESULTS = "results"


@dataclass(frozen=True)
class BatchRequest:
    """A run as the user asks for it: inputs, model, options and output."""

    paths: tuple[str, ...]
    model: Path
    out: Path | None
    format_name: str
    mark_formulas: bool = True
    options: ClassifyOptions = field(default_factory=ClassifyOptions)
    reject: bool = False
    device: Device = "cpu"
    csv_options: CsvOptions = PLAIN_CSV
    shard_spec: ShardSpec = field(default_factory=lambda: ShardSpec(0, 1))
    restart: bool = False
    workers: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None


@dataclass(frozen=True)
class BatchOutcome:
    """The result of a run.

    n_already_done    inputs that an earlier, interrupted run had finished
    already_complete  an earlier run had finished everything
    """

    stats: RunStats
    out: Path | None
    n_already_done: int
    seconds: float
    already_complete: bool = False


class BatchProgress:
    """Progress callbacks of a run; this base class ignores them."""

    def on_start(self, total: int, n_already_done: int) -> None:
        """Called once: the number of inputs, and how many an earlier run has finished."""

    def on_progress(self, stats: RunStats, reading: int, seconds: float) -> None:
        """Called repeatedly: finished chunks; inputs and seconds read in unfinished chunks."""


def run(request: BatchRequest, progress: BatchProgress | None = None) -> BatchOutcome:
    """Classify all inputs. Results appear complete or not at all; an interrupted run can continue.

    Raises:
        BatchError: there is no input, or the run cannot start or continue.
        EarfulError: the model, a list of inputs or the output path is unusable.
    """
    with contextlib.closing(_BatchRun(request, progress or BatchProgress())) as batch_run:
        return batch_run.finish()


class _BatchRun:
    """One run from the list of inputs to the published results."""

    def __init__(self, request: BatchRequest, progress: BatchProgress) -> None:
        self._request, self._progress = request, progress
        self._started = time.monotonic()
        self._stack = contextlib.ExitStack()
        self.out = None if request.out is None else request.shard_spec.output_path(request.out)
        if self.out is not None:
            check_output(self.out, request.format_name, request.paths)
        self._classifier = Classifier.open(request.model, request.device, reject=request.reject)
        check_labels(request.options.for_events(), self._classifier.labels)
        top_k = min(request.options.top_k, len(self._classifier.labels))
        self._options = replace(request.options, top_k=top_k)
        self._config = WorkerConfig(
            folder=Path(),
            model=request.model,
            model_sha256=self._classifier.bundle.sha256,
            options=self._options,
            reject=request.reject,
            device=request.device,
        )

    def close(self) -> None:
        self._stack.close()

    def finish(self) -> BatchOutcome:
        folder = self._stack.enter_context(job_folder(self.out))
        self._config = replace(self._config, folder=folder)
        previous = None if self._request.restart else JobState.load(folder)
        manifest = self._write_manifest(
            folder, start_workers=previous is None or previous.results is None
        )
        if self.out is None:
            _, stats = self._process(folder, manifest)
            return BatchOutcome(stats, None, 0, time.monotonic() - self._started)
        state = JobState(self._settings(), manifest.fingerprint)
        if previous is not None and not manifest.read_once and self._can_resume(previous):
            changed = previous.differences(state)
            if changed:
                raise BatchError(
                    f"{self.out} was started with other settings or inputs: {'; '.join(changed)}. "
                    "Repeat the earlier command to continue, start over with --restart, or give "
                    "another --out"
                )
            if previous.results is not None and previous.stats is not None:
                cleanup(folder)
                stats = previous.stats
                seconds = time.monotonic() - self._started
                return BatchOutcome(stats, self.out, stats.inputs, seconds, already_complete=True)
        else:
            shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)
        state.save(folder)
        n_already_done, stats = self._process(folder, manifest)
        fingerprint = results_fingerprint(folder / _RESULTS)  # a rename does not change it
        state = replace(state, pending_results=fingerprint)
        state.save(folder)
        publish_results(folder / _RESULTS, self.out)
        replace(state, stats=stats, results=fingerprint).save(folder)
        cleanup(folder)
        return BatchOutcome(stats, self.out, n_already_done, time.monotonic() - self._started)

    @cached_property
    def _local(self) -> "LocalEngine":
        """Worker processes. Imported and created late: a single recording does not need them."""
        from earful.service.batch.engines import LocalEngine, default_workers

        workers = self._request.workers or default_workers(self._classifier.bundle.provider)
        engine = LocalEngine(self._config, workers)
        self._stack.callback(engine.stop)
        return engine

    def _settings(self) -> dict[str, object]:
        """All settings that affect rows."""
        from importlib.metadata import version

        request, shard_spec = self._request, self._request.shard_spec
        return {
            "model": self._classifier.bundle.sha256[:16],
            "provider": self._classifier.bundle.provider,
            "reject": request.reject,
            **asdict(self._options),
            # As job.json gives them back.
            "background": list(self._options.background),
            "label_min_scores": [list(pair) for pair in self._options.label_min_scores],
            "format": request.format_name,
            "mark formulas": request.mark_formulas,
            "common folder": str(_common_folder(request.paths))
            if request.format_name in FOLDER_FORMATS
            else "",
            "earful": version("earful"),
            "onnxruntime": onnxruntime.__version__,
            "shard": f"{shard_spec.index} of {shard_spec.count}",
        }

    def _write_manifest(self, folder: Path, *, start_workers: bool) -> InputManifest:
        """List all inputs; ``start_workers`` starts local workers while inputs are listed."""
        request = self._request
        inputs = find_inputs(request.paths, request.csv_options)
        if start_workers and request.engine == "local":
            inputs = self._starting_workers(inputs)
        manifest = write_inputs(folder, inputs)
        if not manifest.chunks:
            raise BatchError(
                f"no audio file under {', '.join(request.paths)} (looked for "
                f"{' '.join(sorted(AUDIO_SUFFIXES))})"
            )
        return manifest

    def _starting_workers(self, inputs: Iterator[Input]) -> Iterator[Input]:
        for number, source in enumerate(inputs):
            if number % FIRST_CHUNK_SIZE == 1:  # a single input needs no worker
                self._local.start_workers(number)
            yield source

    def _can_resume(self, previous: JobState) -> bool:
        """Whether to continue the earlier run; not when its results have been deleted."""
        if previous.results is None:
            return True
        if self.out is None or not self.out.exists():
            return False
        if results_fingerprint(self.out) != previous.results:
            raise BatchError(
                f"{self.out} was changed after it was written; replace it with --restart, or give "
                "another --out"
            )
        return True

    def _process(self, folder: Path, manifest: InputManifest) -> tuple[int, RunStats]:
        chunks = self._request.shard_spec.select_chunks(manifest.chunks)
        missing = [chunk for chunk in chunks if not is_finished(folder, chunk)]
        total = sum(chunk.count for chunk in chunks)
        n_already_done = total - sum(chunk.count for chunk in missing)
        self._progress.on_start(total, n_already_done)
        layout = RowLayout(
            format_name=self._request.format_name,
            mark_formulas=self._request.mark_formulas,
            top_k=self._options.top_k,
            multi_label=self._classifier.is_multi_label,
            expected=manifest.expected,
            common_folder=_common_folder(self._request.paths),
            max_hz=self._classifier.metadata.features.sample_rate_hz / 2,
        )
        with (
            self._writer(folder, layout) as writer,
            contextlib.closing(self._run_chunks(missing, read_once=manifest.read_once)) as finished,
        ):
            stats = self._write_in_order(folder, chunks, missing, finished, writer)
        return n_already_done, stats

    def _run_chunks(self, chunks: Sequence[InputChunk], *, read_once: bool) -> FinishedChunks:
        """Yield each chunk when it is finished, by the requested engine."""
        request = self._request
        single_input = request.out is None and [chunk.count for chunk in chunks] == [1]
        if single_input or read_once:  # workers cannot read this process's standard input
            return self._run_in_process(chunks)
        if request.engine == "ray":
            from earful.service.batch.engines import run_on_ray

            return run_on_ray(self._config, chunks, request.workers, request.ray_address)
        return self._local.run_chunks(chunks, self._report_progress)

    def _run_in_process(self, chunks: Sequence[InputChunk]) -> FinishedChunks:
        """Classify in this process: a single recording is not worth starting a worker."""
        folder, options = self._config.folder, self._options
        for chunk in chunks:
            yield chunk, classify_chunk(folder, chunk, self._classifier, options)

    def _report_progress(self, reading: int, seconds: float) -> None:
        self._progress.on_progress(self._stats_so_far, reading, seconds)

    def _write_in_order(
        self,
        folder: Path,
        chunks: Sequence[InputChunk],
        missing: Sequence[InputChunk],
        finished: FinishedChunks,
        writer: RowWriter,
    ) -> RunStats:
        """Write the rows of all chunks in order, each as soon as all chunks before it are done."""
        waiting = {chunk.number for chunk in missing}
        self._stats_so_far = stats = RunStats()
        for chunk in chunks:
            while chunk.number in waiting:
                done, counts = next(finished)
                waiting.discard(done.number)
                self._stats_so_far += counts
                self._progress.on_progress(self._stats_so_far, 0, 0.0)
            path = part_path(folder, chunk)
            for row in read_part(path):
                if isinstance(row, RunStats):
                    stats += row
                else:
                    writer.write(row)
            if self.out is None:
                path.unlink()
        return stats

    @contextlib.contextmanager
    def _writer(self, folder: Path, layout: RowLayout) -> Iterator[RowWriter]:
        if self.out is None:
            yield text_writer(ResultStream(sys.stdout), layout)
            sys.stdout.flush()  # here, where Typer still handles a closed pipe (`| head`)
            return
        target = folder / _RESULTS
        remove_path(target)
        try:
            with open_writer(target, layout) as writer:
                yield writer
        except OSError as error:
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}; finished work is kept: run the "
                "same command again to continue"
            ) from error


def _common_folder(paths: Sequence[str]) -> Path:
    """The deepest folder that contains all paths."""
    folders = [path if is_folder(path) else str(Path(path).parent) for path in paths]
    return Path(os.path.commonpath([Path(folder).absolute() for folder in folders]))
