"""Runs TFLite files in LiteRT, as phones do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.training.export.tflite.native_output import capture_native_output
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.metrics.latency import median_call_ms

# Names of outputs; the state after a frame has the names of the one before it, with this.
SCORES, NEXT = "scores", "next_"


@dataclass(frozen=True)
class QuantizationParameters:
    """How a tensor's numbers are stored: ``stored = number / scale + zero_point``, as INT8.

    A scale of 0 stands for float32, stored as it is.
    """

    scale: float
    zero_point: int

    @property
    def is_int8(self) -> bool:
        return self.scale > 0

    def quantize(self, values: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.int8]:
        """Numbers of any shape as the tensor stores them, clipped to its range."""
        if not self.is_int8:
            return values
        stored: NDArray[np.float32] = np.round(values / np.float32(self.scale)) + self.zero_point
        return stored.clip(-128, 127).astype(np.int8)

    def dequantize(self, stored: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.float32]:
        """The numbers of what the tensor stores."""
        if not self.is_int8:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class TfliteModel:
    """A TFLite model in LiteRT, on one thread; ``input_name`` is that of a waveform or features.

    Raises:
        TfliteError: LiteRT cannot run it.
    """

    runtime = "LiteRT"

    def __init__(self, content: bytes, input_name: str) -> None:
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
        self._inputs = {t["name"]: t for t in self._interpreter.get_input_details()}
        self._outputs = {t["name"]: t for t in self._interpreter.get_output_details()}
        self._input_name = input_name
        self.input_shape = tuple(int(n) for n in self._inputs[input_name]["shape"])
        self.input_parameters = QuantizationParameters(*self._inputs[input_name]["quantization"])
        self.output_parameters = QuantizationParameters(*self._outputs[SCORES]["quantization"])

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (clips, labels) of waveforms or features (clips, ...), one clip at a time."""
        return np.concatenate([self._classify(clip[np.newaxis]) for clip in inputs])

    def latency_ms(self, clip: NDArray[np.float32]) -> float:
        """Median time for one clip (1, ...)."""
        return median_call_ms(lambda: self._classify(clip))

    def _classify(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = self._run({self._input_name: self.input_parameters.quantize(clip)})
        return self.output_parameters.dequantize(outputs[SCORES])

    def _run(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, value in values.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(tensor["index"])
            for name, tensor in self._outputs.items()
        }


class TfliteStream(TfliteModel):
    """A TFLite model that takes one frame of features and a state, from ``first_state`` on."""

    def __init__(
        self, content: bytes, input_name: str, first_state: Mapping[str, NDArray[np.float32]]
    ) -> None:
        super().__init__(content, input_name)
        self._first_state = first_state

    def latency_ms(self, clip: NDArray[np.float32]) -> float:
        """Median time for one frame of a clip (1, bins, frames)."""
        return super().latency_ms(clip[:, :, :1])

    def _classify(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (1, labels) after the last frame of a clip (1, bins, frames)."""
        state, outputs = self._first_state, {}
        for frame in range(clip.shape[2]):
            outputs = self._run({self._input_name: clip[:, :, frame : frame + 1], **state})
            state = {name: outputs[f"{NEXT}{name}"] for name in self._first_state}
        scores: NDArray[np.float32] = outputs[SCORES]
        return scores
