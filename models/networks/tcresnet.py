"""A temporal residual network: bins become channels, and 1-D convolutions run over time.

After "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices" (TC-ResNet,
arXiv:1904.03814), with three changes that help on unseen speakers and microphones: the input is the
clip twice, once without the mean of each bin, which cancels the response of the microphone; two
2-D convolutions tolerate formants shifted by a bin or two; and pooling over time is weighted by
attention, since a word fills only a part of the clip. With ten labels, 40 bins and 63 frames:
404,155 parameters, 9.1 million multiply-adds.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.bundle.activation_map import MapAxes, MapAxis
from earful.models.layers.base import PooledNetwork

KERNEL_FRAMES = 9
# Three halvings leave two frames, the least that batch normalisation of a single clip needs.
MIN_FRAMES = 9
# In standard deviations of the normalised features, about 20 dB: frames within SPEECH_RANGE of the
# loudest count as speech, and values are clamped at a floor below their mean.
SPEECH_RANGE, SPEECH_SLOPE = 1.25, 4.0
BIN_FLOOR, LEVEL_FLOOR = 2.0, 2.5


@dataclass(frozen=True)
class TcResNetConfig:
    """Options of ``TcResNet``.

    ``stem`` has the channels of the two convolutions over bins and frames, ``channels`` those of
    each residual block, which halves time.
    """

    stem: tuple[int, int] = (16, 24)
    channels: tuple[int, ...] = (64, 80, 112)
    width: int = 56
    dropout: float = 0.3


class TcResNet(PooledNetwork):
    """Features (batch, bins, frames) to logits (batch, labels).

    The embedding has as many values as the last residual block has channels.

    Raises:
        EarfulError: fewer than nine frames.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: TcResNetConfig) -> None:
        super().__init__()
        if frames < MIN_FRAMES:
            raise EarfulError(
                f"tcresnet needs {MIN_FRAMES} frames or more, found {frames}; "
                "prepare with more --clip-seconds"
            )
        first, second = config.stem
        self.stem = nn.Sequential(
            nn.Conv2d(2, first, 3, stride=(2, 1), padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=(2, 1), padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
        )
        rows = math.ceil(math.ceil(bins / 2) / 2)
        self.bottleneck = nn.Sequential(
            _TimeConv(second * rows, config.width, 1),
            nn.BatchNorm2d(config.width),
            nn.ReLU(),
        )
        widths = pairwise((config.width, *config.channels))
        self.axes = MapAxes(bins=None, frames=MapAxis(0, 2 ** len(config.channels)))
        self.blocks = nn.Sequential(
            *(_Block(in_channels, out_channels) for in_channels, out_channels in widths)
        )
        self.attention = _TimeConv(config.channels[-1], 1, 1, bias=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels[-1], n_labels)

    def feature_map(self, features: Tensor) -> Tensor:
        """(batch, channels, 1, frames): the bins are channels."""
        x = self.stem(_two_views(features))  # (batch, stem[1], ceil(bins / 4), frames)
        x = self.bottleneck(x.flatten(1, 2).unsqueeze(2))  # (batch, width, 1, frames)
        return cast("Tensor", self.blocks(x))  # (batch, channels, 1, ceil(frames / 8))

    def pool(self, feature_map: Tensor) -> Tensor:
        weighted = feature_map * self._attention_weights(feature_map)
        return cast("Tensor", self.dropout(weighted.sum(dim=(2, 3))))

    def shares(self, feature_map: Tensor) -> Tensor:
        return feature_map * self._attention_weights(feature_map) * feature_map.shape[3]

    def _attention_weights(self, feature_map: Tensor) -> Tensor:
        """(batch, 1, 1, ceil(frames / 8)) with a sum of 1."""
        return torch.softmax(self.attention(feature_map), dim=3)


class _Block(nn.Module):
    """Two convolutions over nine frames with a shortcut; the first one halves the frames."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        padding = KERNEL_FRAMES // 2
        self.body = nn.Sequential(
            _TimeConv(in_channels, out_channels, KERNEL_FRAMES, 2, padding),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            _TimeConv(out_channels, out_channels, KERNEL_FRAMES, 1, padding),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            _TimeConv(in_channels, out_channels, 1, 2),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class _TimeConv(nn.Conv2d):
    """A convolution over the frames of (batch, channels, 1, frames).

    ONNX Runtime's kernels for two axes are faster than those for one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_frames: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = False,
    ) -> None:
        kernel, strides, paddings = (1, kernel_frames), (1, stride), (0, padding)
        super().__init__(in_channels, out_channels, kernel, strides, paddings, bias=bias)
        self.register_load_state_dict_pre_hook(_add_bin_axis)  # type: ignore[no-untyped-call]


def _add_bin_axis(
    _module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Weights (out, in, frames) of earlier versions, with the axis of bins."""
    weight = state_dict.get(f"{prefix}weight")
    if weight is not None and weight.dim() == 3:
        state_dict[f"{prefix}weight"] = weight.unsqueeze(2)


def _two_views(features: Tensor) -> Tensor:
    """Features (batch, bins, frames) relative to two means: (batch, 2, bins, frames).

    Subtracting each bin's own mean removes the response of the microphone, and with it the vowel of
    a short word; subtracting the mean of all bins removes only the level. The network gets both.

    A mean over all frames would depend on how much silence surrounds the word, and digital silence
    is far below any other. So the mean is weighted towards the loudest frames, and values far below
    it are clamped, which makes all kinds of silence equal.
    """
    loudness = features.mean(dim=1, keepdim=True)  # (batch, 1, frames)
    below = loudness - loudness.amax(dim=2, keepdim=True)
    weights = torch.sigmoid((below + SPEECH_RANGE) * SPEECH_SLOPE)
    mean = (features * weights).sum(dim=2, keepdim=True) / weights.sum(dim=2, keepdim=True)
    relative_to_bin_mean = (features - mean).clamp_min(-BIN_FLOOR)
    relative_to_level = (features - mean.mean(dim=1, keepdim=True)).clamp_min(-LEVEL_FLOOR)
    return torch.stack([relative_to_bin_mean, relative_to_level], dim=1)
