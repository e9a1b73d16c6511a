"""Ray for the length of a block: on this machine, or a cluster that is there already."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import ray

from service.batch.errors import BatchError

# Sends nothing to anybody, and prints no bars of its own. Set before Ray starts.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}


_ANSWER_SECONDS = 10.0


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine with a CPU a core.

    Raises:
        BatchError: no cluster at the address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is not None and address != "auto":
        _knock(address)
    try:
        ray.init(
            address=address, include_dashboard=False if address is None else None,
            num_cpus=len(os.sched_getaffinity(0)) if address is None else None,
            log_to_driver=False, logging_level=logging.ERROR,
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BatchError(f"no Ray cluster at {address or 'this machine'}: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself asks for minutes before it gives up."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise BatchError(
            f"no Ray cluster at {address}: {error}; give host:port, or auto"
        ) from error
