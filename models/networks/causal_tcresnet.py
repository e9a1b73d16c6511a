"""``tcresnet`` that never looks ahead, so that a stream is heard frame by frame.

Differences to ``tcresnet``: convolutions read only frames up to the one they are for; the mean that
is subtracted is one over the past, weighted by loudness and slowly forgotten; halved frames are
counted from the last one. A stream needs every frame's result, so there the halvings are dilations
(``step``): with the same weights, and after the frames of one clip with the same logits. It has no
exact activation map, since a position stands for all that was heard until then.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.networks.tcresnet import (
    BIN_FLOOR,
    KERNEL_FRAMES,
    LEVEL_FLOOR,
    MIN_FRAMES,
    TcResNetConfig,
)

STEM_KERNEL = 3
# Of a frame that is one standard deviation louder, relative to the other's.
LOUDNESS_WEIGHT = 2.0
# What a frame weighs after the next one: half after 69 frames.
KEPT = 0.99
# Frames before the first: their share of the pooled vector is 0.
NO_ATTENTION = -1e4

State = list[Tensor]


@dataclass(frozen=True)
class CausalTcResNetConfig(TcResNetConfig):
    """Options of ``CausalTcResNet``: those of ``TcResNet``."""


class CausalTcResNet(Network):
    """Features (batch, bins, frames) to logits (batch, labels), without a look ahead.

    Raises:
        EarfulError: fewer than nine frames.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: CausalTcResNetConfig) -> None:
        super().__init__()
        if frames < MIN_FRAMES:
            raise EarfulError(
                f"tcresnet-causal needs {MIN_FRAMES} frames or more, found {frames}; "
                "prepare with more --clip-seconds"
            )
        first, second = config.stem
        rows = -(-bins // 4)
        self.bins = bins
        self.stem = nn.ModuleList([_StemLayer(2, first), _StemLayer(first, second)])
        self.bottleneck = nn.Sequential(
            nn.Conv1d(second * rows, config.width, 1, bias=False),
            nn.BatchNorm1d(config.width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(
            _Block(before, after, 2**number)
            for number, (before, after) in enumerate(pairwise((config.width, *config.channels)))
        )
        self.hop = 2 ** len(config.channels)
        self.positions = -(-frames // self.hop)
        self.attention = nn.Conv1d(config.channels[-1], 1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels[-1], n_labels)
        decay = KEPT ** torch.arange(frames).float()
        ages = torch.arange(frames)[:, None] - torch.arange(frames)  # of frame s at frame t
        kept = torch.where(ages >= 0, decay[ages.clamp_min(0)], 0.0)
        self.register_buffer("kept", kept, persistent=False)

    kept: Tensor

    def feature_map(self, features: Tensor) -> Tensor:
        """(batch, channels, frames / 8), the last one for the last frame."""
        weights = _loudness_weights(features)  # (batch, 1, frames)
        mean = ((features * weights) @ self.kept.T) / (weights @ self.kept.T)
        x = _two_views(features, mean)
        for layer in self._stem_layers():
            x = layer(x)
        x = self.bottleneck(x.flatten(1, 2))
        for block in self._blocks():
            x = block(x)
        return cast("Tensor", x)

    def _stem_layers(self) -> "list[_StemLayer]":
        return [cast("_StemLayer", layer) for layer in self.stem]

    def _blocks(self) -> "list[_Block]":
        return [cast("_Block", block) for block in self.blocks]

    def embed(self, features: Tensor) -> Tensor:
        feature_map = self.feature_map(features)
        weighted = feature_map * torch.softmax(self.attention(feature_map), dim=2)
        return cast("Tensor", self.dropout(weighted.sum(dim=2)))

    def first_state(self) -> State:
        """The state before the first frame of a stream."""
        size = self.attention.in_channels
        heard = (self.positions - 1) * self.hop
        sums = [torch.zeros(1, self.bins, 1), torch.zeros(1, 1, 1)]
        stem = [layer.past(-(-self.bins // 2**n)) for n, layer in enumerate(self._stem_layers())]
        blocks = [past for block in self._blocks() for past in block.pasts()]
        pooled = [torch.full((1, 1, heard), NO_ATTENTION), torch.zeros(1, size, heard)]
        return [*sums, *stem, *blocks, *pooled]

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The embedding (1, dim) after one more frame (1, bins, 1), and the next state."""
        states = iter(state)
        weights = _loudness_weights(features)
        sums = [next(states) * KEPT + features * weights, next(states) * KEPT + weights]
        following = list(sums)
        x = _two_views(features, sums[0] / sums[1])
        for layer in self._stem_layers():
            x, past = layer.step(x, next(states))
            following.append(past)
        x = self.bottleneck(x.flatten(1, 2))
        for block in self._blocks():
            x, pasts = block.step(x, next(states), next(states))
            following += pasts
        attention = torch.cat([next(states), self.attention(x)], dim=2)
        vectors = torch.cat([next(states), x], dim=2)
        following += [attention[:, :, 1:], vectors[:, :, 1:]]
        shares = torch.softmax(attention[:, :, :: self.hop], dim=2)
        return (vectors[:, :, :: self.hop] * shares).sum(dim=2), following


class _StemLayer(nn.Module):
    """A convolution over three bins and the last three frames, which halves the bins."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.convolution = nn.Conv2d(
            in_channels, out_channels, STEM_KERNEL, stride=(2, 1), padding=(1, 0), bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(functional.pad(x, (STEM_KERNEL - 1, 0)))

    def past(self, rows: int) -> Tensor:
        return torch.zeros(1, self.in_channels, rows, STEM_KERNEL - 1)

    def step(self, frame: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([past, frame], dim=3)
        return self._convolve(frames), frames[..., 1:]

    def _convolve(self, frames: Tensor) -> Tensor:
        return torch.relu(self.norm(self.convolution(frames)))


class _Block(nn.Module):
    """Two convolutions over the last nine frames with a shortcut; the first halves the frames.

    ``dilation`` is how many frames of a stream lie between two of its input.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.dilations = (dilation, 2 * dilation)
        self.first = nn.Conv1d(in_channels, out_channels, KERNEL_FRAMES, stride=2, bias=False)
        self.first_norm = nn.BatchNorm1d(out_channels)
        self.second = nn.Conv1d(out_channels, out_channels, KERNEL_FRAMES, bias=False)
        self.second_norm = nn.BatchNorm1d(out_channels)
        self.shortcut = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, 1, stride=2, bias=False),
            nn.BatchNorm1d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        offset = (x.shape[2] - 1) % 2  # so that the last frame is one of those that are kept
        past = KERNEL_FRAMES - 1
        y = torch.relu(self.first_norm(self.first(functional.pad(x, (past, 0))[..., offset:])))
        y = self.second_norm(self.second(functional.pad(y, (past, 0))))
        return torch.relu(y + self.shortcut(x[..., offset:]))

    def pasts(self) -> State:
        channels = (self.first.in_channels, self.second.in_channels)
        sizes = zip(channels, self.dilations, strict=True)
        return [torch.zeros(1, n, (KERNEL_FRAMES - 1) * dilation) for n, dilation in sizes]

    def step(self, x: Tensor, past: Tensor, second_past: Tensor) -> tuple[Tensor, State]:
        frames = torch.cat([past, x], dim=2)
        y = torch.relu(self.first_norm(_dilated(self.first, frames, self.dilations[0])))
        second_frames = torch.cat([second_past, y], dim=2)
        y = self.second_norm(_dilated(self.second, second_frames, self.dilations[1]))
        out = torch.relu(y + self.shortcut(x))
        return out, [frames[..., 1:], second_frames[..., 1:]]


def _dilated(convolution: nn.Conv1d, frames: Tensor, dilation: int) -> Tensor:
    """The convolution for the last frame alone, over every ``dilation``-th before it."""
    return functional.conv1d(frames[..., ::dilation], convolution.weight)


def _loudness_weights(features: Tensor) -> Tensor:
    """(batch, 1, frames): loud frames outweigh silence, whenever they come."""
    return (LOUDNESS_WEIGHT * features.mean(dim=1, keepdim=True)).clamp(-40, 40).exp()


def _two_views(features: Tensor, mean: Tensor) -> Tensor:
    """Features relative to the mean of each bin, and to that of all: (batch, 2, bins, frames)."""
    relative_to_bin_mean = (features - mean).clamp_min(-BIN_FLOOR)
    relative_to_level = (features - mean.mean(dim=1, keepdim=True)).clamp_min(-LEVEL_FLOOR)
    return torch.stack([relative_to_bin_mean, relative_to_level], dim=1)
