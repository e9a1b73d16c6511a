"""A convolutional autoencoder: a spectrogram to a short vector and back, trained without labels.

Blocks of 8, 16 and 32 filters of 3 x 3 with stride 2, batch normalisation and GELU shrink both axes
by eight, and a linear layer gives the embedding. The decoder is the mirror image, with transposed
convolutions. Clips that sound alike have similar embeddings. After "Reducing the Dimensionality of
Data with Neural Networks" (Hinton and Salakhutdinov, Science 313, 2006), convolutional as in
"Stacked Convolutional Auto-Encoders" (Masci et al., ICANN 2011). With 40 bins and 63 frames:
177,009 parameters, 1.0 million multiply-adds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network

FILTERS = (8, 16, 32)
# Three halvings leave 2 x 2, the least that batch normalisation of a single clip needs.
MIN_SIDE = 9
# In standard deviations of the normalised features, about 20 to 30 dB.
CLAMP_RANGE = 1.0


@dataclass(frozen=True)
class AutoencoderConfig:
    """Options of ``Autoencoder``: the length of the embedding."""

    embedding_dim: int = 64


class Autoencoder(Network):
    """Features (batch, bins, frames) to an embedding and to the ``centred`` features.

    Raises:
        EarfulError: features smaller than 9 x 9, or ``embedding_dim`` below 1.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: AutoencoderConfig) -> None:
        super().__init__()
        del n_labels  # trained without labels
        if min(bins, frames) < MIN_SIDE:
            raise EarfulError(
                f"autoencoder needs features of {MIN_SIDE} x {MIN_SIDE} or more, found "
                f"{bins} x {frames}; prepare with longer clips or a shorter --hop-length"
            )
        if config.embedding_dim < 1:
            raise EarfulError(f"embedding_dim must be 1 or more, found {config.embedding_dim}")
        sizes = [(bins, frames)]
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise((1, *FILTERS)):
            layers += [nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(out_channels), nn.GELU()]
            sizes.append(_halved_size(sizes[-1]))
        self.blocks = nn.Sequential(*layers)
        flat_size = FILTERS[-1] * sizes[-1][0] * sizes[-1][1]
        self.to_embedding = nn.Linear(flat_size, config.embedding_dim)
        self.head = Decoder(config.embedding_dim, sizes)

    def embed(self, features: Tensor) -> Tensor:
        x = centred(features).unsqueeze(1)  # (batch, 1, bins, frames)
        x = self.blocks(x)  # (batch, 32, bins / 8, frames / 8), sides rounded up
        embedding: Tensor = self.to_embedding(x.flatten(1))
        return embedding


def centred(features: Tensor) -> Tensor:
    """Features (batch, bins, frames) relative to their loudest frame, clamped at ``-CLAMP_RANGE``.

    The reconstruction target. Without the clamp, the digital silence around a word, far below any
    sound, would be most of the error, and the embedding would encode the length and loudness of a
    word and little else. tests/benchmarks/map_quality.py measures the effect.
    """
    loudest = features.mean(dim=1, keepdim=True).amax(dim=2, keepdim=True)
    return (features - loudest).clamp_min(-CLAMP_RANGE)


class Decoder(nn.Module):
    """An embedding (batch, dim) to features (batch, bins, frames).

    ``sizes`` are the (bins, frames) of the encoder's images, from its input to its last block.
    """

    def __init__(self, embedding_dim: int, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.smallest = (FILTERS[-1], *sizes[-1])
        self.from_embedding = nn.Sequential(
            nn.Linear(embedding_dim, FILTERS[-1] * sizes[-1][0] * sizes[-1][1]), nn.GELU()
        )
        layers: list[nn.Module] = []
        channels = (*reversed(FILTERS), 1)
        for (in_channels, out_channels), small, large in zip(
            pairwise(channels), reversed(sizes[1:]), reversed(sizes[:-1]), strict=True
        ):
            layers.append(_upsampling(in_channels, out_channels, small, large))
            if out_channels > 1:
                layers += [nn.BatchNorm2d(out_channels), nn.GELU()]
        self.blocks = nn.Sequential(*layers)

    def forward(self, embedding: Tensor) -> Tensor:
        x = self.from_embedding(embedding)
        x = x.unflatten(1, self.smallest)  # (batch, 32, bins / 8, frames / 8)
        image: Tensor = self.blocks(x)  # (batch, 1, bins, frames)
        return image.squeeze(1)


def _halved_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size after a block with stride 2: odd sides are rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)


def _upsampling(
    in_channels: int, out_channels: int, small: tuple[int, int], large: tuple[int, int]
) -> nn.ConvTranspose2d:
    """A layer that doubles an image from ``small`` to exactly ``large``."""
    output_padding = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
    return nn.ConvTranspose2d(
        in_channels,
        out_channels,
        3,
        stride=2,
        padding=1,
        output_padding=output_padding,
        bias=out_channels == 1,
    )
