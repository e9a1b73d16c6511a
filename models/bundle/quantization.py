"""What a model file says of its quantisation: INT8 instead of float32."""

from dataclasses import asdict, dataclass
from typing import Any, Self


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
        counts = [int(values[key]) for key in ("calibration_clips", "clips", "lost", "won")]
        shares = [float(values[key]) for key in ("accuracy", "float_accuracy")]
        if min(counts) < 0 or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"expected counts, and shares from 0 to 1; found {values!r}")
        return cls(counts[0], counts[1], shares[0], shares[1], counts[2], counts[3])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
