"""Quantises the network of an exported graph to INT8; the front end and last layer stay float.

Static QDQ by ONNX Runtime's own quantiser: weights of 7 bits for each channel, activations of 8
bits by the ranges that clips of the training data reach. With 8 bits for the weights, processors
without VNNI saturate in the sum of two products, and give other scores than those with it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from earful.data.errors import EarfulError
from earful.models.bundle.runtime import error_line

# In the names of the parameters of the network, and not of the front end.
_NETWORK = "classifier.network."
_WEIGHTED_OPS = ("Conv", "Gemm", "MatMul")
_BATCH = 32


class QuantizationError(EarfulError):
    """A model that cannot be quantised, or that loses too much by it."""


class _Clips(CalibrationDataReader):  # type: ignore[misc]
    """Batches of waveforms (clips, samples) for the calibration."""

    def __init__(self, waveforms: NDArray[np.float32]) -> None:
        starts = range(0, len(waveforms), _BATCH)
        self._batches = iter([waveforms[start : start + _BATCH] for start in starts])

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"waveform": batch}


def quantize_graph(model: onnx.ModelProto, clips: NDArray[np.float32], out: Path) -> None:
    """Write an INT8 copy of a graph to ``out``, calibrated on clips (clips, samples).

    Raises:
        QuantizationError: the network has no layer that could be quantised, or ONNX Runtime
            cannot quantise it.
    """
    layers = _network_layers(model)
    try:
        with _quiet_quantizer():
            quantize_static(
                model,
                out,
                _Clips(clips),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=layers,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
    except (OSError, MemoryError):  # of the machine, not of the network
        raise
    # What it raises for a graph that it does not understand has no common class.
    except Exception as error:
        raise QuantizationError(
            f"ONNX Runtime cannot quantise this network ({error_line(error)}); export it without "
            "--int8"
        ) from error


def _network_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the layers with weights of the network, but for the last one."""
    names = [
        node.name
        for node in model.graph.node
        if node.op_type in _WEIGHTED_OPS and any(_NETWORK in name for name in node.input)
    ]
    if len(names) < 2:
        found = ", ".join(sorted({node.op_type for node in model.graph.node}))
        raise QuantizationError(
            "INT8 speeds up convolutions and products with weights, and this network has none but "
            f"its last layer (its operators are {found}); networks that gain are tcresnet and "
            "bcresnet"
        )
    return names[:-1]


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Without the advice that the quantiser logs for graphs of other exporters."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
