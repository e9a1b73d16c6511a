"""What a model file says of its quantisation: INT8 instead of float32."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from earful.models.bundle.json_values import count, probability


@dataclass(frozen=True)
class Quantization:
    """How an INT8 model was calibrated, and its accuracy beside that of the float model.

    calibration_clips  training clips that the ranges of the activations come from
    clips              validation clips that both models were run on
    accuracy           share of them that the INT8 model classifies correctly
    float_accuracy     the same of the float model
    lost, won          clips that only the float model, only the INT8 model classifies correctly
    """

    calibration_clips: int
    clips: int
    accuracy: float
    float_accuracy: float
    lost: int
    won: int

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Parse the metadata.

        Raises:
            KeyError: a value is missing.
            TypeError: it is no object.
            ValueError: a value is none of its kind.
        """
        return cls(
            calibration_clips=count(values["calibration_clips"]),
            clips=count(values["clips"]),
            accuracy=probability(values["accuracy"]),
            float_accuracy=probability(values["float_accuracy"]),
            lost=count(values["lost"]),
            won=count(values["won"]),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
