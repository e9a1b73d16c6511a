"""A convolutional encoder of speech: log-mel to a vector of 96 values every 80 ms.

The network of Google's ``speech_embedding`` (Lin et al., arXiv:2002.01322, section 2.1), laid out
as one fully convolutional pass: nothing pads in time and the strides multiply to eight frames, so
the pass over a clip equals the network on windows of 76 frames every eight. 328,128 parameters.
"""

from io import BytesIO
from pathlib import Path
from typing import cast
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from earful.data.errors import EarfulError

# Weights by their name in the state dict; NOTICE beside them has source and licence.
WEIGHTS = Path(__file__).parents[1] / "pretrained" / "speech-encoder.npz"
DIM = 96
BANDS = 32
WINDOW_FRAMES, HOP_FRAMES = 76, 8
LEAK, FLOOR = 0.2, -0.4
# Of each block: channels, pairs of a convolution over three bands and one over three frames, and
# the pooling after it (frames, bands). The first convolution covers three frames and three bands.
_BLOCKS = (
    (24, 1, (2, 2)),
    (48, 2, (1, 2)),
    (72, 2, (2, 2)),
    (96, 2, (1, 2)),
    (96, 2, (2, 2)),
)


class SpeechEncoder(nn.Module):
    """The encoder's input (batch, 32, frames) to vectors (batch, 96, windows).

    The input is that of ``data.features.encoder_frontend``, with 76 frames or more.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, _BLOCKS[0][0], 3, padding=(0, 1)), _Activation()]
        channels = _BLOCKS[0][0]
        for out_channels, pairs, pool in _BLOCKS:
            for _ in range(pairs):
                layers += [
                    nn.Conv2d(channels, out_channels, (1, 3), padding=(0, 1)),
                    _Activation(),
                    nn.Conv2d(out_channels, out_channels, (3, 1)),
                    _Activation(),
                ]
                channels = out_channels
            layers.append(nn.MaxPool2d(pool))
        layers.append(nn.Conv2d(channels, DIM, (3, 1), bias=False))
        self.layers = nn.Sequential(*layers)
        for weights in self.parameters():
            if weights.dim() == 4:  # twice as fast on a CPU
                weights.data = weights.data.to(memory_format=torch.channels_last)

    def forward(self, log_mel: Tensor) -> Tensor:
        x = log_mel.transpose(1, 2).unsqueeze(1)  # (batch, 1, frames, 32)
        x = x.contiguous(memory_format=torch.channels_last)
        return cast("Tensor", self.layers(x)).squeeze(3)  # (batch, 96, windows)


def load_speech_encoder(bins: int, frames: int) -> SpeechEncoder:
    """The encoder with its pretrained weights, for features (batch, bins, frames).

    Raises:
        EarfulError: features of another front end, a clip that is too short, or a damaged file.
    """
    if bins != BANDS or frames < WINDOW_FRAMES:
        raise EarfulError(
            f"the speech encoder takes its own log-mel of {BANDS} bands and {WINDOW_FRAMES} frames "
            f"or more, found {bins} x {frames}; leave out --features"
        )
    encoder = SpeechEncoder()
    try:
        with np.load(BytesIO(WEIGHTS.read_bytes()), allow_pickle=False) as arrays:
            encoder.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays})
    except (OSError, ValueError, RuntimeError, BadZipFile) as error:
        raise EarfulError(f"{WEIGHTS} is missing or damaged; install Earful again") from error
    return encoder


class _Activation(nn.Module):
    """Leaky ReLU with a floor, as the weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        # In place, since reading and writing activations takes most of the time: 1.2 ms a clip
        # instead of 3.0. ``threshold`` is the clamp with a cheaper gradient, and dearer in ONNX.
        clamp = FLOOR / LEAK
        clamped = functional.threshold(x, clamp, clamp) if self.training else x.clamp_min(clamp)
        return functional.leaky_relu(clamped, LEAK, inplace=True)
