"""The options of ``earful export``, and which of them go together."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from earful.data.errors import UsageError, require_number

MAX_LOST_POINTS = 0.5


class Target(StrEnum):
    """What ``export`` writes."""

    ONNX = "onnx"
    WEB = "web"
    TFLITE = "tflite"


@dataclass(frozen=True)
class ExportOptions:
    """What is given beside run, output and target.

    web_runtime       package of ONNX Runtime Web
    int8              INT8 weights and activations
    max_lost_points   percentage points of validation accuracy that INT8 may lose; None: 0.5
    data              the run's dataset; None: the folder that the run names
    features_outside  the model takes features
    stream            the model takes one frame of features and a state
    """

    web_runtime: Path | None = None
    int8: bool = False
    max_lost_points: float | None = None
    data: Path | None = None
    features_outside: bool = False
    stream: bool = False

    @property
    def lost_points_limit(self) -> float:
        return MAX_LOST_POINTS if self.max_lost_points is None else self.max_lost_points

    def check(self, target: str, spell: Callable[[str], str] = str) -> None:
        """Refuse options that exclude each other or say nothing about what is exported.

        ``spell`` writes the name of an option as the user did, as a flag or as an argument.

        Raises:
            UsageError: the first one that does not fit is named.
        """
        require_number(spell("max_lost_points"), self.lost_points_limit, 0, 100)
        for name in ("int8", "features_outside", "stream"):
            if not isinstance(value := getattr(self, name), bool):
                raise UsageError(f"{spell(name)} is True or False, found {value!r}")
        if target == Target.WEB and self.int8:
            raise UsageError(
                f"{spell('int8')} writes a model file; write it first, then give that file with "
                f"{spell('target')} web"
            )
        if self.stream and self.int8:
            raise UsageError(
                f"{spell('stream')} is for float32, since a state in INT8 would need one scale for "
                f"all times; leave out {spell('int8')}"
            )
        for option, (fits, wanted) in self._needs(target, spell).items():
            value = getattr(self, option)
            if value is not None and value is not False and not fits:
                raise UsageError(f"{spell(option)} is for {wanted}; leave it out, or add that")

    def _needs(self, target: str, spell: Callable[[str], str]) -> dict[str, tuple[bool, str]]:
        """By option whether what it is about is exported, and what that is."""
        is_tflite, tflite = target == Target.TFLITE, f"{spell('target')} tflite"
        return {
            "web_runtime": (target == Target.WEB, f"{spell('target')} web"),
            "features_outside": (is_tflite, tflite),
            "stream": (is_tflite, tflite),
            "max_lost_points": (self.int8, spell("int8")),
            "data": (self.int8 or is_tflite, f"{spell('int8')} and {tflite}"),
        }
