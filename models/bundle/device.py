"""Compute devices; a file of its own, so that the command line loads no runtime to list them."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
# ONNX Runtime, which runs model files, does not run on mps, the GPU of Apple silicon; torch does.
TrainingDevice = Literal["auto", "cpu", "cuda", "mps"]
