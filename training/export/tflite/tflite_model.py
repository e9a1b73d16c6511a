"""Runs TFLite files: with LiteRT as phones do, with TFLite Micro as microcontrollers do."""

import re
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.training.export.tflite.native_output import capture_native_output
from earful.training.export.tflite.tflite_error import TfliteError

_WARM_UP_RUNS, _TIMED_RUNS = 20, 200
# More than any of the networks needs; TFLite Micro says how much of it was used.
_ARENA_BYTES = 1 << 26
_ARENA_USED = re.compile(r"Arena allocation total (\d+) bytes")


@dataclass(frozen=True)
class TensorCode:
    """How a tensor's numbers are stored: ``stored = number / scale + zero_point``, as INT8.

    A scale of 0 stands for float32, stored as it is.
    """

    scale: float
    zero_point: int

    @property
    def is_int8(self) -> bool:
        return self.scale > 0

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.int8]:
        """Numbers of any shape as the tensor stores them, clipped to its range."""
        if not self.is_int8:
            return values
        stored: NDArray[np.float32] = np.round(values / np.float32(self.scale)) + self.zero_point
        return stored.clip(-128, 127).astype(np.int8)

    def decode(self, stored: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.float32]:
        """The numbers of what the tensor stores."""
        if not self.is_int8:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class TfliteModel:
    """A TFLite model in LiteRT, on one thread.

    Raises:
        TfliteError: LiteRT cannot run it.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        with capture_native_output():
            try:
                self._interpreter = Interpreter(model_content=content, num_threads=1)
                self._interpreter.allocate_tensors()
            except RuntimeError as error:
                raise TfliteError(
                    f"LiteRT cannot run the converted model: {str(error).strip()}; export it "
                    "without --int8, or train another network"
                ) from error
        [self._input] = self._interpreter.get_input_details()
        [self._output] = self._interpreter.get_output_details()
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in self._input["shape"])
        self.input_code = TensorCode(*self._input["quantization"])
        self.output_code = TensorCode(*self._output["quantization"])

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (clips, labels) of waveforms or features (clips, ...), one clip at a time."""
        return np.concatenate([self._run(clip[np.newaxis]) for clip in inputs])

    def latency_ms(self, clip: NDArray[np.float32]) -> float:
        """Median time for one clip (1, ...)."""
        seconds = []
        for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
            started = time.perf_counter()
            self._run(clip)
            seconds.append(time.perf_counter() - started)
        return 1000 * float(np.median(seconds[_WARM_UP_RUNS:]))

    def _run(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], self.input_code.encode(clip))
        self._interpreter.invoke()
        return self.output_code.decode(self._interpreter.get_tensor(self._output["index"]))


def count_operations(content: bytes) -> dict[str, int]:
    """How often each operation is in the graph, by its name in the TFLite schema."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    codes = (
        model.OperatorCodes(graph.Operators(number).OpcodeIndex()).BuiltinCode()
        for number in range(graph.OperatorsLength())
    )
    counts = Counter(names[code] for code in codes)
    return dict(sorted(counts.items()))


def arena_bytes(content: bytes) -> int | None:
    """The memory that TFLite Micro needs beside the file; None if it lacks an operation of it."""
    from tflite_micro.python.tflite_micro import runtime  # noqa: PLC0415

    with capture_native_output() as printed:
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
            details = interpreter.get_input_details(0)
            interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
            interpreter.invoke()
            interpreter.print_allocations()
        except RuntimeError:
            return None
    used = _ARENA_USED.search(printed[0])
    return int(used[1]) if used else None
