"""The class activation map in the metadata of a model file, and where its positions lie."""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MapAxis:
    """Where positions look: number i at ``first + i * step``, in the unit of the axis."""

    first: float
    step: float

    def resample(self, values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values (..., positions) at other places (n,) by linear interpolation: (..., n).

        Before the first and after the last position the value stays that of the position.
        """
        places = np.clip((at - self.first) / self.step, 0, values.shape[-1] - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, values.shape[-1] - 1)
        share = (places - low).astype(np.float32)
        return np.asarray(values[..., low] * (1 - share) + values[..., high] * share, np.float32)


@dataclass(frozen=True)
class MapAxes:
    """The two axes of a feature map; ``bins`` is None for a map of one row that sees all bins."""

    bins: MapAxis | None
    frames: MapAxis


@dataclass(frozen=True)
class ActivationMapInfo:
    """The class activation map of a model file.

    tensor   its name: (batch, labels, rows, columns), the share of each position in each logit
    graph    a serialised ``GraphProto``: what the graph of the file lacks to compute it
    seconds  of the columns, from the start of the clip
    bins     mel bins of the rows; None where rows are no frequencies, and their mean is the map
    """

    tensor: str
    graph: bytes
    seconds: MapAxis
    bins: MapAxis | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "tensor": self.tensor,
            "graph_base64": base64.b64encode(self.graph).decode(),
            "seconds": [self.seconds.first, self.seconds.step],
            "bins": None if self.bins is None else [self.bins.first, self.bins.step],
        }

    @classmethod
    def from_dict(cls, values: Any) -> "ActivationMapInfo":
        """Rebuild it from its JSON object.

        Raises:
            ValueError, TypeError, KeyError: a field is missing or malformed.
        """
        if not isinstance(values["tensor"], str):
            raise TypeError(f"expected the name of a tensor, found {values['tensor']!r}")
        bins = values["bins"]
        return cls(
            tensor=values["tensor"],
            graph=base64.b64decode(values["graph_base64"], validate=True),
            seconds=_axis(values["seconds"]),
            bins=None if bins is None else _axis(bins),
        )


def _axis(value: Any) -> MapAxis:
    first, step = (float(number) for number in value)
    if not (math.isfinite(first) and 0 < step < math.inf):
        raise ValueError(f"expected the first place and a step above 0, found {value!r}")
    return MapAxis(first, step)
