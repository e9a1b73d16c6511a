"""ONNX Runtime with its telemetry off: import ``onnxruntime`` from here and nowhere else.

Since 1.29 its Linux builds write a device identifier under the home folder and report to Microsoft
(pull request 27379). It reads the variable once, when it is imported, so the variable is set here,
at import. A value set by the user is kept.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["INVALID_PROTOBUF", "ORT_ERRORS", "error_line", "onnxruntime"]

_STATE = onnxruntime.capi.onnxruntime_pybind11_state
INVALID_PROTOBUF = _STATE.InvalidProtobuf
# What a session raises: some kinds derive from RuntimeError, others directly from Exception.
ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    MemoryError,
    *(
        kind
        for kind in vars(_STATE).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)


def error_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's name: a MemoryError may have no text."""
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
