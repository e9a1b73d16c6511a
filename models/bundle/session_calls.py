"""Calls of ONNX Runtime, each with a time limit.

A model file is a program: a loop of it may never end, and folding its constants while it is opened
may take hours. ONNX Runtime stops when it is asked to between two nodes, in loops too. It does not
within one node, nor while it folds constants: then the process ends
(``models.bundle.call_watcher``). Opening without folding could be stopped, but makes batches 3 %
slower.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.call_watcher import CALLS
from earful.models.bundle.metadata import ModelError
from earful.models.bundle.runtime import onnxruntime

T = TypeVar("T")
# Opening the largest shipped model takes 0.1 s, a batch of it 0.03 s. Less than the time after
# which a batch run takes a worker for stuck in a decoder (``service.batch.worker``).
OPEN_SECONDS, RUN_SECONDS = 60.0, 120.0


class ModelTimeout(ModelError):  # noqa: N818 - names the event
    """A model that takes too long to open or to run."""


def create_session(
    model: bytes,
    options: onnxruntime.SessionOptions,
    providers: Sequence[Any],
    path: Path,
) -> onnxruntime.InferenceSession:
    """A session of a serialised model.

    Raises:
        ModelTimeout: it takes longer than ``OPEN_SECONDS``; ``path`` is only named.
        Exception: one of ``ORT_ERRORS``.
    """

    def cancel() -> None:
        options.set_load_cancellation_flag(True)

    def create() -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(model, options, providers=providers)

    return _limited(path, OPEN_SECONDS, cancel, create)


def run_session(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    inputs: Mapping[str, NDArray[np.float32]],
    path: Path,
) -> list[NDArray[np.float32]]:
    """The outputs of a session.

    Raises:
        ModelTimeout: it takes longer than ``RUN_SECONDS``; ``path`` is only named.
        Exception: one of ``ORT_ERRORS``.
    """
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # errors are raised; a log would print names of the file's nodes

    def cancel() -> None:
        options.terminate = True

    def run() -> list[NDArray[np.float32]]:
        values: list[NDArray[np.float32]] = session.run(outputs, inputs, options)
        return values

    return _limited(path, RUN_SECONDS, cancel, run)


def _limited(path: Path, seconds: float, cancel: Callable[[], None], work: Callable[[], T]) -> T:
    try:
        return CALLS.run(str(path), seconds, cancel, work)
    except TimeoutError as error:
        raise ModelTimeout(str(error)) from error
