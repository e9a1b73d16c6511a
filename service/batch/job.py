"""A run of many inputs: list them, resume an earlier run, run chunks, publish the results."""

import contextlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from importlib.metadata import version

from earful.data.atomic_write import OutputError
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.models.bundle.runtime import onnxruntime
from earful.service.batch.chunks import (
    FIRST_CHUNK_SIZE,
    PARTS_FOLDER,
    FinishedChunks,
    InputChunk,
    InputManifest,
    classify_chunk,
    cleanup,
    is_finished,
    part_path,
    read_part,
    select_chunks,
    write_inputs,
)
from earful.service.batch.engines import LocalEngine, default_workers, run_on_ray
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import (
    FOLDER_FORMATS,
    RowLayout,
    RowWriter,
    open_writer,
    text_writer,
)
from earful.service.batch.inputs import Input
from earful.service.batch.job_state import JobState
from earful.service.batch.output_folder import (
    job_folder,
    publish_results,
    remove_path,
    results_fingerprint,
)
from earful.service.batch.request import BatchOutcome, BatchProgress, BatchRequest
from earful.service.batch.settled_rows import RunStats
from earful.service.batch.worker import WorkerConfig
from earful.service.classifier import Classifier
from earful.service.core.echo import ResultStream

_RESULTS = "results"


class Job:
    """One run from the list of inputs to the published results; ``close`` it at the end."""

    def __init__(
        self, request: BatchRequest, classifier: Classifier, progress: BatchProgress
    ) -> None:
        self._request, self._progress, self._classifier = request, progress, classifier
        self._stack = contextlib.ExitStack()
        self._out = request.results
        self._folder = self._stack.enter_context(job_folder(self._out))
        self._config = WorkerConfig(
            folder=self._folder,
            model=request.model,
            model_sha256=classifier.bundle.sha256,
            options=request.options,
            reject=request.reject,
            device=request.device,
        )

    def close(self) -> None:
        self._stack.close()

    def finish(self, inputs: Iterable[Input]) -> BatchOutcome:
        """Classify the inputs, and publish the results; the seconds are the caller's.

        Raises:
            BatchError: there is no input, or the run cannot continue.
            OutputError: the results cannot be written.
        """
        folder, out = self._folder, self._out
        previous = None if self._request.restart else JobState.load(folder)
        manifest = self._write_manifest(
            inputs, start_workers=previous is None or previous.results is None
        )
        if out is None:
            return BatchOutcome(self._process(manifest)[1], None)
        state = JobState(self._settings(), manifest.fingerprint)
        if previous is not None and not manifest.read_once and self._can_resume(previous):
            changed = previous.differences(state)
            if changed:
                raise BatchError(
                    f"{out} was started with other settings or inputs: {'; '.join(changed)}. "
                    "Repeat the earlier command to continue, start over with --restart, or give "
                    "another --out"
                )
            if previous.results is not None and previous.stats is not None:
                cleanup(folder)
                stats = previous.stats
                return BatchOutcome(stats, out, stats.inputs, already_complete=True)
        else:
            shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)
        state.save(folder)
        n_already_done, stats = self._process(manifest)
        fingerprint = results_fingerprint(folder / _RESULTS)  # a rename does not change it
        state = replace(state, pending_results=fingerprint)
        state.save(folder)
        publish_results(folder / _RESULTS, out)
        replace(state, stats=stats, results=fingerprint).save(folder)
        cleanup(folder)
        return BatchOutcome(stats, out, n_already_done)

    @cached_property
    def _local(self) -> LocalEngine:
        """Worker processes, which start when there is work for them."""
        workers = self._request.workers or default_workers(self._classifier.bundle.provider)
        engine = LocalEngine(self._config, workers)
        self._stack.callback(engine.stop)
        return engine

    def _settings(self) -> dict[str, object]:
        """All settings that affect rows."""
        request, shard_spec = self._request, self._request.shard_spec
        return {
            "model": self._classifier.bundle.sha256[:16],
            "provider": self._classifier.bundle.provider,
            "reject": request.reject,
            **asdict(request.options),
            # As job.json gives them back.
            "background": list(request.options.background),
            "label_min_scores": [list(pair) for pair in request.options.label_min_scores],
            "format": request.format_name,
            "mark formulas": request.mark_formulas,
            "common folder": str(request.common_folder)
            if request.format_name in FOLDER_FORMATS
            else "",
            "earful": version("earful"),
            "onnxruntime": onnxruntime.__version__,
            "shard": f"{shard_spec.index} of {shard_spec.count}",
        }

    def _write_manifest(self, inputs: Iterable[Input], *, start_workers: bool) -> InputManifest:
        """List all inputs; ``start_workers`` starts local workers while inputs are listed."""
        request = self._request
        if start_workers and request.engine == "local":
            inputs = self._starting_workers(inputs)
        manifest = write_inputs(self._folder, inputs)
        if not manifest.chunks:
            raise BatchError(
                f"no audio file under {', '.join(request.paths)} (looked for "
                f"{' '.join(sorted(AUDIO_SUFFIXES))})"
            )
        return manifest

    def _starting_workers(self, inputs: Iterable[Input]) -> Iterator[Input]:
        for number, source in enumerate(inputs):
            if number % FIRST_CHUNK_SIZE == 1:  # a single input needs no worker
                self._local.start_workers(number)
            yield source

    def _can_resume(self, previous: JobState) -> bool:
        """Whether to continue the earlier run; not when its results have been deleted."""
        if previous.results is None:
            return True
        if self._out is None or not self._out.exists():
            return False
        if results_fingerprint(self._out) != previous.results:
            raise BatchError(
                f"{self._out} was changed after it was written; replace it with --restart, or give "
                "another --out"
            )
        return True

    def _process(self, manifest: InputManifest) -> tuple[int, RunStats]:
        folder = self._folder
        chunks = select_chunks(manifest.chunks, self._request.shard_spec)
        missing = [chunk for chunk in chunks if not is_finished(folder, chunk)]
        total = sum(chunk.count for chunk in chunks)
        n_already_done = total - sum(chunk.count for chunk in missing)
        self._progress.on_start(total, n_already_done)
        layout = self._request.layout(self._classifier, expected=manifest.expected)
        with (
            self._writer(layout) as writer,
            contextlib.closing(self._run_chunks(missing, read_once=manifest.read_once)) as finished,
        ):
            stats = self._write_in_order(chunks, missing, finished, writer)
        return n_already_done, stats

    def _run_chunks(self, chunks: Sequence[InputChunk], *, read_once: bool) -> FinishedChunks:
        """Yield each chunk when it is finished, by the requested engine."""
        request, folder, classifier = self._request, self._folder, self._classifier
        if read_once:  # workers cannot read this process's standard input
            return ((c, classify_chunk(folder, c, classifier, request.options)) for c in chunks)
        if request.engine == "ray":
            return run_on_ray(self._config, chunks, request.workers, request.ray_address)
        return self._local.run_chunks(
            chunks, lambda *read: self._progress.on_progress(self._stats_so_far, *read)
        )

    def _write_in_order(
        self,
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
            path = part_path(self._folder, chunk)
            for row in read_part(path):
                if isinstance(row, RunStats):
                    stats += row
                else:
                    writer.write(row)
            if self._out is None:
                path.unlink()
        return stats

    @contextlib.contextmanager
    def _writer(self, layout: RowLayout) -> Iterator[RowWriter]:
        if self._out is None:
            yield text_writer(ResultStream(sys.stdout), layout)
            sys.stdout.flush()  # here, where Typer still handles a closed pipe (`| head`)
            return
        target = self._folder / _RESULTS
        remove_path(target)
        try:
            with open_writer(target, layout) as writer:
                yield writer
        except OSError as error:
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}; finished work is kept: run the "
                "same command again to continue"
            ) from error
