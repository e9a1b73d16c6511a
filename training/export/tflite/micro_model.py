"""Runs TFLite files in TFLite Micro, as microcontrollers do.

Its reference kernels round otherwise than those of LiteRT, so that INT8 scores differ a little.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.training.export.tflite.native_output import capture_native_output
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.export.tflite.tflite_model import QuantizationParameters

# More than any of the networks needs; TFLite Micro says how much of it was used.
_ARENA_BYTES = 1 << 26
_ARENA_USED = re.compile(r"Arena allocation total (\d+) bytes")
_MISSING_OPERATION = re.compile(r"Didn't find op for builtin opcode '(\w+)'")


class MicroModel:
    """A TFLite model in TFLite Micro; ``arena_bytes`` is the memory that it needs beside the file.

    Raises:
        TfliteError: TFLite Micro cannot run it.
    """

    runtime = "TFLite Micro"

    def __init__(self, content: bytes) -> None:
        from tflite_micro.python.tflite_micro import runtime  # noqa: PLC0415

        with capture_native_output() as printed:
            error = ""
            try:
                self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
                self._interpreter.invoke()
                self._interpreter.print_allocations()
            except RuntimeError as raised:
                error = str(raised)
        used = _ARENA_USED.search(printed[0])
        if error or not used:
            missing = _MISSING_OPERATION.search(printed[0])
            raise TfliteError(f"it lacks {missing[1]}" if missing else error or "of its arena")
        self.arena_bytes = int(used[1])
        self._input = _parameters(self._interpreter.get_input_details(0))
        self._output = _parameters(self._interpreter.get_output_details(0))

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (clips, labels) of waveforms or features (clips, ...), one clip at a time."""
        return np.concatenate([self._classify(clip[np.newaxis]) for clip in inputs])

    def _classify(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        self._interpreter.set_input(self._input.quantize(clip), 0)
        self._interpreter.invoke()
        return self._output.dequantize(self._interpreter.get_output(0))


def _parameters(details: dict[str, Any]) -> QuantizationParameters:
    found = details["quantization_parameters"]
    if len(found["scales"]) == 0:
        return QuantizationParameters(0.0, 0)
    return QuantizationParameters(float(found["scales"][0]), int(found["zero_points"][0]))
