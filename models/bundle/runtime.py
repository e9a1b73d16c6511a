"""ONNX Runtime, told to send nothing: import ``onnxruntime`` from here and nowhere else.

Since 1.29 its Linux builds write a device identifier under the home folder and report to Microsoft
(pull request 27379). It decides once, when it is imported, so this is the one thing of the package
that happens at import. A user's own setting of the variable is kept.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["ORT_ERRORS", "onnxruntime"]

_STATE = onnxruntime.capi.onnxruntime_pybind11_state
# Its errors derive from RuntimeError (its C++ exceptions) or from Exception, by kind.
ORT_ERRORS = (
    RuntimeError, ValueError, _STATE.Fail, _STATE.EPFail, _STATE.InvalidArgument,
    _STATE.InvalidGraph, _STATE.InvalidProtobuf, _STATE.NotImplemented, _STATE.RuntimeException,
)  # fmt: skip
