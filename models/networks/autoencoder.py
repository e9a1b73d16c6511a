"""A convolutional autoencoder: a spectrogram to a few numbers and back, without a single label.

Blocks of 8, 16 and 32 filters of 3 x 3 with stride 2, batch normalisation and GELU shrink both
axes by eight, and a linear layer makes the embedding of what remains. The decoder is the mirror
image, with transposed convolutions. What sounds alike lies close together in the embedding, which
has no room for anything else. After "Reducing the Dimensionality of Data with Neural Networks"
(Hinton and Salakhutdinov, Science 313, 2006), convolutional as in "Stacked Convolutional
Auto-Encoders" (Masci et al., ICANN 2011). With 40 bands and 63 frames: 177,009 parameters, 1.0
million multiply-adds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network

FILTERS = (8, 16, 32)
# Three halvings leave 2 x 2, which batch normalisation needs for a batch of one clip.
LEAST_SIDE = 9
# In standard deviations of the normalised features, some 20 to 30 dB.
RANGE = 1.0


@dataclass(frozen=True)
class AutoencoderConfig:
    """Options of ``Autoencoder``; ``embedding`` is how many numbers stand for a clip."""

    embedding: int = 64


class Autoencoder(Network):
    """Features (batch, bins, frames) to ``levelled`` ones again, through ``embedding`` values.

    Raises:
        EarfulError: an image smaller than 9 x 9, or an embedding of nothing.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: AutoencoderConfig) -> None:
        super().__init__()
        del n_labels  # it learns what clips sound like, whatever they are called
        if min(bins, frames) < LEAST_SIDE:
            raise EarfulError(
                f"autoencoder needs features of {LEAST_SIDE} x {LEAST_SIDE} or more, found "
                f"{bins} x {frames}; prepare with longer clips or a shorter --hop-length"
            )
        if config.embedding < 1:
            raise EarfulError(f"embedding must be 1 or more, found {config.embedding}")
        sizes = [(bins, frames)]
        layers: list[nn.Module] = []
        for before, after in pairwise((1, *FILTERS)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.GELU()]
            sizes.append(_halved(sizes[-1]))
        self.blocks = nn.Sequential(*layers)
        left = FILTERS[-1] * sizes[-1][0] * sizes[-1][1]
        self.narrow = nn.Linear(left, config.embedding)
        self.head = Decoder(config.embedding, sizes)

    def embed(self, features: Tensor) -> Tensor:
        x = levelled(features).unsqueeze(1)  # (batch, 1, bins, frames)
        x = self.blocks(x)  # (batch, 32, bins / 8, frames / 8), sides rounded up
        embedding: Tensor = self.narrow(x.flatten(1))
        return embedding


def levelled(features: Tensor) -> Tensor:
    """Features (batch, bins, frames) relative to their loudest frame, without what is far below it.

    What is to be reconstructed. Digital silence around a word is so far below any sound that it
    would be most of the error, and the embedding would hold how long a word is and how loud, and
    little of which. (tests/benchmarks/map_quality.py prints what it is worth.)
    """
    loudest = features.mean(dim=1, keepdim=True).amax(dim=2, keepdim=True)
    return (features - loudest).clamp_min(-RANGE)


class Decoder(nn.Module):
    """An embedding (batch, dim) to features (batch, bins, frames).

    ``sizes`` are those of the images that the encoder made, from the whole one to the smallest.
    """

    def __init__(self, embedding: int, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.smallest = (FILTERS[-1], *sizes[-1])
        self.widen = nn.Sequential(
            nn.Linear(embedding, FILTERS[-1] * sizes[-1][0] * sizes[-1][1]), nn.GELU()
        )
        layers: list[nn.Module] = []
        channels = (*reversed(FILTERS), 1)
        for (before, after), small, large in zip(
            pairwise(channels), reversed(sizes[1:]), reversed(sizes[:-1]), strict=True
        ):
            layers.append(_doubling(before, after, small, large))
            if after > 1:
                layers += [nn.BatchNorm2d(after), nn.GELU()]
        self.blocks = nn.Sequential(*layers)

    def forward(self, embedding: Tensor) -> Tensor:
        x = self.widen(embedding).unflatten(1, self.smallest)  # (batch, 32, bins / 8, frames / 8)
        image: Tensor = self.blocks(x)  # (batch, 1, bins, frames)
        return image.squeeze(1)


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    """What a block leaves of an image: an odd side is rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)


def _doubling(
    before: int, after: int, small: tuple[int, int], large: tuple[int, int]
) -> nn.ConvTranspose2d:
    """The reverse of a halving from ``large`` to ``small``."""
    missing = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
    return nn.ConvTranspose2d(
        before, after, 3, stride=2, padding=1, output_padding=missing, bias=after == 1
    )
