"""A temporal residual network: bands become channels, and 1-D convolutions run over time.

After "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices" (TC-ResNet,
arXiv:1904.03814), with three changes that help on voices and microphones never heard: it sees the
clip twice, once without the mean of each band, which cancels the response of the microphone; two
two-dimensional convolutions let formants move by a band or two; and pooling over time is weighted
by attention, since a word fills only a part of the clip. With ten labels, 40 bands and 63 frames:
404,155 parameters, 9.1 million multiply-adds.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network

STEM_CHANNELS = (16, 24)
KERNEL_FRAMES = 9
# Three halvings leave two frames, which batch normalisation needs for a batch of one clip.
MIN_FRAMES = 9
# In standard deviations of the normalised features, some 20 dB: frames within SPEECH_RANGE of the
# loudest are taken for speech, and nothing is lower than a floor below their mean.
SPEECH_RANGE, SPEECH_SLOPE = 1.25, 4.0
BIN_FLOOR, LEVEL_FLOOR = 2.0, 2.5


@dataclass(frozen=True)
class TcResNetConfig:
    """Options of ``TcResNet``; ``channels`` has an entry a residual block, each halving time."""

    channels: tuple[int, ...] = (64, 80, 112)
    width: int = 56
    dropout: float = 0.3


class TcResNet(Network):
    """Features (batch, bins, frames) to logits (batch, labels)."""

    def __init__(self, bins: int, frames: int, n_labels: int, config: TcResNetConfig) -> None:
        super().__init__()
        if frames < MIN_FRAMES:
            raise EarfulError(
                f"tcresnet needs {MIN_FRAMES} frames or more, found {frames}; "
                "prepare with more --clip-seconds"
            )
        first, second = STEM_CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(2, first, 3, stride=(2, 1), padding=1, bias=False), nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=(2, 1), padding=1, bias=False),
            nn.BatchNorm2d(second), nn.ReLU(),
        )  # fmt: skip
        rows = math.ceil(math.ceil(bins / 2) / 2)
        self.bottleneck = nn.Sequential(
            nn.Conv1d(second * rows, config.width, 1, bias=False),
            nn.BatchNorm1d(config.width), nn.ReLU(),
        )  # fmt: skip
        widths = (config.width, *config.channels)
        self.blocks = nn.Sequential(
            *(
                _Block(in_channels, out_channels)
                for in_channels, out_channels in zip(widths, config.channels, strict=False)
            )
        )
        self.attention = nn.Conv1d(config.channels[-1], 1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels[-1], n_labels)

    def embed(self, features: Tensor) -> Tensor:
        x = self.stem(_two_views(features))  # (batch, 24, ceil(bins / 4), frames)
        x = self.bottleneck(x.flatten(1, 2))  # (batch, width, frames)
        x = self.blocks(x)  # (batch, channels, ceil(frames / 8))
        weights = torch.softmax(self.attention(x), dim=2)  # (batch, 1, ceil(frames / 8))
        return cast("Tensor", self.dropout((x * weights).sum(dim=2)))


class _Block(nn.Module):
    """Two convolutions over nine frames around a shortcut; the first halves the frames."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        padding = KERNEL_FRAMES // 2
        self.body = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, KERNEL_FRAMES, stride=2, padding=padding, bias=False),
            nn.BatchNorm1d(out_channels), nn.ReLU(),
            nn.Conv1d(out_channels, out_channels, KERNEL_FRAMES, padding=padding, bias=False),
            nn.BatchNorm1d(out_channels),
        )  # fmt: skip
        self.shortcut = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, 1, stride=2, bias=False),
            nn.BatchNorm1d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _two_views(features: Tensor) -> Tensor:
    """Features (batch, bins, frames) relative to their loud part, twice: (batch, 2, bins, frames).

    Relative to each bin's own mean, the response of the microphone is gone, and with it which vowel
    a short word holds; relative to the mean of all bins, only the level is gone. The network weighs
    the one against the other.

    The mean over all frames would depend on how much silence surrounds the word, and digital
    silence is far below any other. Frames count the more the nearer they are to the loudest; what
    is far below the mean is cut off, so that silence of every kind is alike.
    """
    loudness = features.mean(dim=1, keepdim=True)  # (batch, 1, frames)
    below = loudness - loudness.amax(dim=2, keepdim=True)
    weights = torch.sigmoid((below + SPEECH_RANGE) * SPEECH_SLOPE)
    mean = (features * weights).sum(dim=2, keepdim=True) / weights.sum(dim=2, keepdim=True)
    relative_to_bin_mean = (features - mean).clamp_min(-BIN_FLOOR)
    relative_to_level = (features - mean.mean(dim=1, keepdim=True)).clamp_min(-LEVEL_FLOOR)
    return torch.stack([relative_to_bin_mean, relative_to_level], dim=1)
