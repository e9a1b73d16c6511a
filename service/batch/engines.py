"""Engines that classify the chunks of a run: local worker processes, or a Ray cluster."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from earful.data.dataset.ray_prepare import iterate_rows, ray_session
from earful.data.system.processes import n_usable_cores
from earful.service.batch.chunks import FIRST_CHUNK_SIZE, FinishedChunks, InputChunk
from earful.service.batch.errors import BatchError
from earful.service.batch.settled_rows import RunStats
from earful.service.batch.worker import Worker, WorkerConfig

# (inputs read, seconds of audio read) in the unfinished chunks
OnProgress = Callable[[int, float], None]
_PROGRESS_SECONDS = 0.1
# Each worker has its own session in GPU memory.
_MAX_CUDA_WORKERS = 4


def default_workers(provider: str) -> int:
    """One worker per CPU core; on a GPU at most ``_MAX_CUDA_WORKERS``."""
    cores = n_usable_cores()
    return cores if provider == "CPUExecutionProvider" else min(cores, _MAX_CUDA_WORKERS)


class LocalEngine:
    """Worker processes on this machine, each started when there is work for it."""

    def __init__(self, config: WorkerConfig, n_workers: int) -> None:
        self._workers = [Worker(config) for _ in range(n_workers)]

    def start_workers(self, n_inputs: int) -> None:
        """Start as many workers as ``n_inputs`` keep busy; called while inputs are still listed."""
        for worker in self._workers[: -(-n_inputs // FIRST_CHUNK_SIZE)]:
            worker.start()

    def stop(self) -> None:
        """Kill all worker processes."""
        for worker in self._workers:
            worker.stop()

    def run_chunks(self, chunks: Sequence[InputChunk], on_progress: OnProgress) -> FinishedChunks:
        """Yield each chunk when it is finished.

        Raises:
            BatchError: the run cannot continue; finished chunks are kept.
        """
        workers = self._workers[: len(chunks)]
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def work(chunk: InputChunk) -> tuple[InputChunk, RunStats]:
            worker = idle.get()
            try:
                return chunk, worker.run(chunk)
            finally:
                idle.put(worker)

        finished: SimpleQueue[Future[tuple[InputChunk, RunStats]]] = SimpleQueue()
        n_unfinished = len(chunks)
        with ThreadPoolExecutor(len(workers) or 1) as pool:
            try:
                for chunk in chunks:
                    pool.submit(work, chunk).add_done_callback(finished.put)
                while n_unfinished:
                    with contextlib.suppress(Empty):
                        yield finished.get(timeout=_PROGRESS_SECONDS).result()
                        n_unfinished -= 1
                    positions = [worker.position() for worker in workers]
                    on_progress(
                        sum(position for position, _ in positions),
                        sum(seconds for _, seconds in positions),
                    )
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()


def run_on_ray(
    config: WorkerConfig, chunks: Sequence[InputChunk], n_workers: int | None, address: str | None
) -> FinishedChunks:
    """Yield each chunk when it is finished by Ray Data. All machines need the same shared folders.

    Without an address, Ray is started on this machine and shut down afterwards.

    Raises:
        ClusterError: Ray is not installed, or there is no cluster at the address.
        BatchError: the run cannot continue; finished chunks are kept.
    """
    if not chunks:
        return
    with ray_session(address) as ray:
        workers = n_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        rows = [{"position": position} for position in range(len(chunks))]
        ray_dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            RayWorker,
            fn_constructor_args=(config, tuple(chunks), Path.cwd()),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=1,
        )
        for row in iterate_rows(ray_dataset):
            if row["failed"]:
                raise BatchError(row["failed"])
            yield chunks[row["position"]], RunStats(**json.loads(row["stats"]))


class RayWorker:
    """A Ray actor that runs chunks in a worker process of its own."""

    def __init__(
        self, config: WorkerConfig, chunks: Sequence[InputChunk], working_folder: Path
    ) -> None:
        os.chdir(working_folder)  # input names are relative to the working folder of the command
        self._worker = Worker(config)
        self._chunks = chunks

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Classify the chunk at ``position``; an error that stops the run is in ``failed``."""
        try:
            stats = self._worker.run(self._chunks[row["position"]])
        except BatchError as error:
            return row | {"failed": str(error), "stats": ""}
        return row | {"failed": "", "stats": json.dumps(asdict(stats))}

    def __del__(self) -> None:
        self._worker.stop()
