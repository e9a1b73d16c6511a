"""Broadcasted residual learning: frequency in two dimensions, time in one.

"Broadcasted Residual Learning for Efficient Keyword Spotting" (BC-ResNet, arXiv:2106.04140, table
1). A block convolves over frequency, averages over the bins, convolves over time, which is cheap
without bins, and adds the result to every bin. Batch statistics are kept for each of up to five
sub-bands (SubSpectralNorm, arXiv:2103.13620). ``width`` multiplies the channels: the paper has 1,
1.5, 2, 3, 6 and 8. With ten labels, 40 bins and 63 frames:

width  parameters  multiply-adds
1           9,166    1.5 million
2          27,154    4.6 million
3          53,974    9.1 million
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.bundle.activation_map import MapAxes, MapAxis
from earful.models.layers.base import PooledNetwork

STEM_CHANNELS, HEAD_CHANNELS = 16, 32
SUB_BANDS = 5
# The last depthwise convolution reads five rows, which is what three halvings leave of 33 bins.
HEAD_ROWS = 5
MIN_BINS, MIN_FRAMES = 33, 5


@dataclass(frozen=True)
class Stage:
    """Blocks of equal width; the first one changes the channels and may halve the bins."""

    channels: int
    blocks: int
    stride: int
    dilation: int


STAGES = (
    Stage(channels=8, blocks=2, stride=1, dilation=1),
    Stage(channels=12, blocks=2, stride=2, dilation=2),
    Stage(channels=16, blocks=4, stride=2, dilation=4),
    Stage(channels=20, blocks=4, stride=1, dilation=8),
)


@dataclass(frozen=True)
class BcResNetConfig:
    """Options of ``BcResNet``."""

    width: float = 1.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 0.25 <= self.width <= 16:
            raise EarfulError(f"bcresnet width must be from 0.25 to 16, found {self.width}")


class BcResNet(PooledNetwork):
    """Features (batch, bins, frames) to logits (batch, labels); embeddings of 32 * width values.

    Raises:
        EarfulError: fewer than 33 bins or 5 frames.
    """

    # Three halvings of the bins, then a convolution that drops two rows on either side.
    axes = MapAxes(bins=MapAxis(16, 8), frames=MapAxis(0, 1))

    def __init__(self, bins: int, frames: int, n_labels: int, config: BcResNetConfig) -> None:
        super().__init__()
        if bins < MIN_BINS or frames < MIN_FRAMES:
            raise EarfulError(
                f"bcresnet needs features of {MIN_BINS} x {MIN_FRAMES} or more, "
                f"found {bins} x {frames}; use log_mel, or prepare with more --n-mels"
            )
        in_channels, rows = round(STEM_CHANNELS * config.width), _halved_size(bins)
        self.stem = nn.Sequential(
            nn.Conv2d(1, in_channels, 5, stride=(2, 1), padding=2, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for stage in STAGES:
            out_channels = round(stage.channels * config.width)
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                rows = _halved_size(rows) if stride == 2 else rows
                layers.append(
                    _Block(
                        in_channels,
                        out_channels,
                        rows=rows,
                        stride=stride,
                        dilation=stage.dilation,
                        dropout=config.dropout,
                    )
                )
                in_channels = out_channels
        self.blocks = nn.Sequential(*layers)
        dim = round(HEAD_CHANNELS * config.width)
        self.last = nn.Sequential(
            _depthwise(in_channels, HEAD_ROWS, padding=(0, 2)),
            nn.Conv2d(in_channels, dim, 1, bias=False),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
        )
        self.head = nn.Linear(dim, n_labels)

    def feature_map(self, features: Tensor) -> Tensor:
        x = self.stem(features.unsqueeze(1))  # (batch, 16 * width, ceil(bins / 2), frames)
        x = self.blocks(x)  # (batch, 20 * width, ceil(bins / 8), frames)
        located: Tensor = self.last(x)  # (batch, 32 * width, ceil(bins / 8) - 4, frames)
        return located


class _Block(nn.Module):
    """A broadcasted residual block; a transition block where the number of channels changes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        rows: int,
        stride: int,
        dilation: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.transition = in_channels != out_channels
        change: Sequence[nn.Module] = (
            (
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            )
            if self.transition
            else ()
        )
        self.frequency = nn.Sequential(
            *change,
            _depthwise(out_channels, (3, 1), stride=(stride, 1), padding=(1, 0)),
            SubSpectralNorm(out_channels, rows),
        )
        self.time = nn.Sequential(
            _depthwise(out_channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
            nn.BatchNorm2d(out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        spectral = self.frequency(x)  # (batch, channels, rows, frames)
        broadcast = self.time(spectral.mean(dim=2, keepdim=True))  # (batch, channels, 1, frames)
        out: Tensor = spectral + broadcast
        return (out if self.transition else out + x).relu()


class SubSpectralNorm(nn.Module):
    """Batch normalisation of (batch, channels, rows, frames) with statistics for each sub-band.

    The number of sub-bands is the largest one up to five that divides the rows evenly.
    """

    def __init__(self, channels: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.sub_bands = max(n for n in range(1, SUB_BANDS + 1) if rows % n == 0)
        self.norm = nn.BatchNorm2d(channels * self.sub_bands)

    def forward(self, x: Tensor) -> Tensor:
        _, channels, rows, frames = x.shape
        split = (-1, channels * self.sub_bands, rows // self.sub_bands, frames)
        normalised: Tensor = self.norm(x.reshape(split))
        return normalised.reshape(-1, channels, rows, frames)

    def row_scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """In evaluation the norm is ``x * scale + shift``, (channels, rows) each."""
        norm = self.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        scale = norm.weight.detach() / (variance + norm.eps).sqrt()
        shift = norm.bias.detach() - mean * scale
        rows = self.rows // self.sub_bands
        by_row = (t.reshape(-1, self.sub_bands).repeat_interleave(rows, 1) for t in (scale, shift))
        return next(by_row), next(by_row)


def _depthwise(
    channels: int,
    kernel: int | tuple[int, int],
    *,
    padding: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> nn.Conv2d:
    """A convolution over each channel by itself, without bias."""
    return nn.Conv2d(
        channels,
        channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=channels,
        bias=False,
    )


def _halved_size(size: int) -> int:
    return (size + 1) // 2
