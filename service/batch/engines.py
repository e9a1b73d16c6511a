"""Who works on the shards: processes of this machine, or those of a Ray cluster."""

import json
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, Literal

from service.batch.errors import BatchError
from service.batch.job import Shard, Tally
from service.batch.worker import Task, Worker

Engine = Literal["local", "ray"]
Finished = Generator[tuple[Shard, Tally], None, None]
# Hears how many inputs of unfinished shards have been read.
OnTick = Callable[[int], None]
_TICK_SECONDS = 0.1
# Each has a session of its own in the memory of the GPU.
_MAX_CUDA_WORKERS = 4


def default_workers(task: Task) -> int:
    """A worker a core; a few where a GPU computes."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, _MAX_CUDA_WORKERS) if task.device != "cpu" else cores


def run_locally(task: Task, shards: Sequence[Shard], n_workers: int, on_tick: OnTick) -> Finished:
    """Each shard as it is finished, by processes of this machine.

    Raises:
        BatchError: the run cannot go on; what is finished stays.
    """
    workers = [Worker(task) for _ in range(min(n_workers, len(shards)))]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def finish(shard: Shard) -> tuple[Shard, Tally]:
        worker = idle.get()
        try:
            return shard, worker.run(shard)
        finally:
            idle.put(worker)

    left = iter(shards)
    running: set[Future[tuple[Shard, Tally]]] = set()
    with ThreadPoolExecutor(len(workers) or 1) as pool:
        try:
            while True:
                while len(running) <= len(workers) and (shard := next(left, None)) is not None:
                    running.add(pool.submit(finish, shard))
                if not running:
                    return
                done, running = wait(running, _TICK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                on_tick(sum(worker.at() for worker in workers))
        finally:
            for future in running:
                future.cancel()
            for worker in workers:
                worker.stop()


def run_on_ray(
    task: Task, shards: Sequence[Shard], n_workers: int | None, address: str | None
) -> Finished:
    """Each shard as it is finished, by Ray Data; all machines see the same folders.

    Without an address, Ray is started on this machine and ended again.

    Raises:
        BatchError: Ray is not installed, or the run cannot go on; what is finished stays.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise BatchError(
            "--engine ray needs Ray; install it with: pip install 'earshot[cluster]'"
        ) from error
    from service.batch.ray_session import ray_session

    if not shards:
        return
    with ray_session(address):
        cpus: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        workers = n_workers or max(1, int(cpus.get("CPU", 1)))
        rows = [{"position": position} for position in range(len(shards))]
        make: Any = RayWorker  # a class, for which ``map`` has no type
        work = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            make,
            fn_constructor_args=(task, tuple(shards)),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=1,
        )
        for row in work.iter_rows():
            if row["failed"]:
                raise BatchError(row["failed"])
            yield shards[row["position"]], Tally(**json.loads(row["tally"]))


class RayWorker:
    """A worker process and the actor of Ray that looks after it."""

    def __init__(self, task: Task, shards: Sequence[Shard]) -> None:
        self._worker = Worker(task)
        self._shards = shards

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Classify the shard at ``position``; what stops the run is told as ``failed``."""
        try:
            tally = self._worker.run(self._shards[row["position"]])
        except BatchError as error:
            return row | {"failed": str(error), "tally": ""}
        return row | {"failed": "", "tally": json.dumps(asdict(tally))}

    def __del__(self) -> None:
        self._worker.stop()
