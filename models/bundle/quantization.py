"""What a model file says of its quantisation: INT8 instead of float32."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from earful.models.bundle.json_values import count, probability


@dataclass(frozen=True)
class AccuracyPair:
    """Accuracy of an exported model beside that of the float model, on the same clips.

    clips           clips that both models were run on
    accuracy        share of them that the exported model classifies correctly
    float_accuracy  the same of the float model
    lost, won       clips that only the float model, only the exported model classifies correctly
    """

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
        numbers: dict[str, Any] = {
            field.name: (probability if "accuracy" in field.name else count)(values[field.name])
            for field in fields(cls)
        }
        return cls(**numbers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Quantization(AccuracyPair):
    """How an INT8 model was calibrated, and its accuracy on the validation clips.

    calibration_clips  training clips that the ranges of the activations come from
    """

    calibration_clips: int
