"""Decode clips with Ray, on this machine or on an existing cluster."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.audio.decode import AudioError
from earful.data.dataset.reader import MeasuredClip, measure_clips
from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip
from earful.data.system.processes import n_usable_cores

# No usage statistics, no progress bars of Ray's own. Under `uv run` Ray would copy the working
# folder and install an environment into the copy. Set before Ray is imported.
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
_CONNECT_TIMEOUT_SECONDS = 10.0
_CHUNK_CLIPS = 64


class ClusterError(EarfulError):
    """Ray is not installed, or no cluster answers."""


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster, or to Ray on this machine (``address`` None).

    Raises:
        ClusterError: Ray is not installed, or no cluster answers at the address.
    """
    for name, value in _RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError(
            "--engine ray needs Ray; install it with: uv sync --inexact --extra cluster"
        ) from error
    if address is not None and address != "auto":
        _check_reachable(address)
    try:
        ray.init(
            # "local", as Ray would otherwise connect to RAY_ADDRESS.
            address=address or "local",
            include_dashboard=False if address is None else None,
            num_cpus=n_usable_cores() if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray's node raises plain ones, say on a busy machine
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


def iterate_rows(ray_dataset: Any) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of a Ray dataset.

    Raises:
        ClusterError: the cluster failed.
    """
    from ray.exceptions import RayError

    try:
        yield from ray_dataset.iter_rows()
    except RayError as error:
        reason = str(error).strip().splitlines()[-1][:300]
        raise ClusterError(f"the Ray cluster failed: {reason}") from error


def measure_on_ray(
    clips: Sequence[Clip], features: FeatureConfig, address: str | None
) -> Iterator[tuple[Clip, MeasuredClip | AudioError]]:
    """``data.dataset.reader.measure_clips`` on all CPUs of a cluster.

    All machines need access to the audio files under the same paths.

    Raises:
        ClusterError: Ray is not installed, or no cluster answers at the address.
    """
    chunks = [
        {"clips": [_serialise_clip(clip) for clip in clips[first : first + _CHUNK_CLIPS]]}
        for first in range(0, len(clips), _CHUNK_CLIPS)
    ]
    if not chunks:
        return
    with ray_session(address) as ray:
        ray_dataset = ray.data.from_items(chunks, override_num_blocks=len(chunks)).flat_map(
            _measure_chunk, fn_args=(features,)
        )
        for clip, row in zip(clips, iterate_rows(ray_dataset), strict=True):
            if row["code"]:
                yield clip, AudioError(row["code"], row["message"])
                continue
            levels = (row["seconds"], row["sha256"], row["peak_dbfs"], row["rms_dbfs"])
            yield clip, MeasuredClip(row["window"], *levels)


def _serialise_clip(clip: Clip) -> list[Any]:
    times = (clip.start_seconds, clip.end_seconds, clip.end_tolerance_seconds)
    return [str(clip.path.absolute()), *times]


def _measure_chunk(chunk: dict[str, Any], features: FeatureConfig) -> list[dict[str, Any]]:
    """On a worker: a row per clip; failed clips have a code and a message."""
    clips = [
        Clip(0, path, Path(path), "", "", "", start, end, end_tolerance_seconds=tolerance)
        for path, start, end, tolerance in chunk["clips"]
    ]
    rows = []
    for _, measured in measure_clips(clips, features):
        if isinstance(measured, AudioError):
            failed = MeasuredClip(np.zeros(features.clip_samples, np.float32), 0.0, "", 0.0, 0.0)
            rows.append(vars(failed) | {"code": measured.code, "message": str(measured)})
        else:
            rows.append(vars(measured) | {"code": "", "message": ""})
    return rows


def _check_reachable(address: str) -> None:
    """Fail fast if the address is unreachable; Ray itself retries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster at {address}: {error}; give host:port, or auto"
        ) from error
