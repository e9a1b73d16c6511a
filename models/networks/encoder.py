"""A pretrained encoder under a linear head: ``encoder``, frozen, and ``encoder-finetuned``.

An encoder turns a clip into vectors over time; a head on their mean, standard deviation and maximum
over the clip is all that a few clips a label can train. ``speech`` is Google's speech embedding
(``models.layers.speech_encoder``; weights and licence in ``models/pretrained``). A file of the
user's own (``models.layers.onnx_encoder``) can be used frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.layers.onnx_encoder import OnnxEncoder, file_sha256, read_encoder
from earful.models.layers.pooling import mean_std_max
from earful.models.layers.speech_encoder import DIM, SpeechEncoder, load_speech_encoder
from earful.models.networks.baselines.fitted import FittedModule, Standardiser
from earful.models.networks.baselines.logistic import Linear

SPEECH = "speech"
# In the metadata of every model file that holds these weights; models/pretrained/NOTICE says more.
SPEECH_SOURCE = {
    "source": "speech_embedding 1 by Google (tfhub google/speech_embedding, arXiv:2002.01322)",
    "licence": "Apache-2.0",
}
N_FUNCTIONALS = 3  # mean, standard deviation, maximum


@dataclass(frozen=True)
class EncoderConfig:
    """Options of ``FrozenEncoder``.

    encoder         ``speech``, or the path of an ONNX file
    encoder_sha256  of that file, written by training; another file is refused
    c               inverse of the L2 penalty of the head, as scikit-learn's ``C``

    Raises:
        EarfulError: ``c`` is not above 0.
    """

    encoder: str = SPEECH
    encoder_sha256: str = ""
    c: float = 0.01

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise EarfulError(f"c must be above 0, found {self.c}")


@dataclass(frozen=True)
class FinetunedConfig:
    """Options of ``FinetunedEncoder``.

    dropout       of the pooled vectors
    encoder_rate  learning rate of the encoder's weights, relative to that of the head

    Raises:
        EarfulError: a value is out of range.
    """

    dropout: float = 0.2
    encoder_rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise EarfulError(f"dropout must be from 0 to below 1, found {self.dropout}")
        if not 0 < self.encoder_rate <= 1:
            raise EarfulError(
                f"encoder_rate must be above 0 and at most 1, found {self.encoder_rate}"
            )


def pin_encoder_file(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the absolute path and SHA-256 of an encoder file, so that a run is reproducible.

    Raises:
        EarfulError: the file is missing, or is not the one of an earlier SHA-256.
    """
    encoder = options.get("encoder", SPEECH)
    if encoder == SPEECH:
        return {name: value for name, value in options.items() if name != "encoder_sha256"}
    path = Path(str(encoder)).resolve()
    return {**options, "encoder": str(path), "encoder_sha256": file_sha256(read_encoder(path))}


def pretrained_source(model: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Source and licence of the pretrained weights in a network; empty where there are none."""
    is_speech = options.get("encoder", SPEECH) == SPEECH
    return SPEECH_SOURCE if model in ("encoder", "encoder-finetuned") and is_speech else {}


class FrozenEncoder(Network):
    """An encoder whose weights stay as they are; the head is fitted (``training.baselines``).

    Takes the encoder's input: log-mel (batch, 32, frames) for ``speech``, waveforms
    (batch, 1, samples) for a file. The embedding (batch, 3 * dim) is standardised.

    Raises:
        EarfulError: the file is missing, damaged, another one, or no encoder.
    """

    head: FittedModule

    def __init__(self, bins: int, frames: int, n_labels: int, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder: nn.Module
        if config.encoder == SPEECH:
            self.encoder, dim = load_speech_encoder(bins, frames), DIM
        else:
            onnx_encoder = OnnxEncoder(Path(config.encoder), frames, config.encoder_sha256)
            self.encoder, dim = onnx_encoder, onnx_encoder.dim
        self.encoder.requires_grad_(False)
        self.standardiser = Standardiser(N_FUNCTIONALS * dim)
        self.head = Linear(N_FUNCTIONALS * dim, n_labels)

    def pool(self, features: Tensor) -> Tensor:
        """Functionals (batch, 3 * dim) of the encoder's vectors, not standardised."""
        return mean_std_max(self.encoder(features))

    def embed(self, features: Tensor) -> Tensor:
        return cast("Tensor", self.standardiser(self.pool(features)))


class FinetunedEncoder(Network):
    """The speech encoder, trained further with its head on (batch, 32, frames)."""

    def __init__(self, bins: int, frames: int, n_labels: int, config: FinetunedConfig) -> None:
        super().__init__()
        self.encoder: SpeechEncoder = load_speech_encoder(bins, frames)
        self.norm = nn.BatchNorm1d(N_FUNCTIONALS * DIM)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(N_FUNCTIONALS * DIM, n_labels)
        self.encoder_rate = config.encoder_rate

    def rate_scales(self) -> dict[nn.Module, float]:
        return {self.encoder: self.encoder_rate}

    def embed(self, features: Tensor) -> Tensor:
        pooled = mean_std_max(self.encoder(features))  # (batch, 3 * dim)
        return cast("Tensor", self.dropout(self.norm(pooled)))
