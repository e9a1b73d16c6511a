"""The exported model in two halves, since microcontrollers may compute the first in C."""

import copy
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earful.models.layers.normalise import WaveformClassifier
from earful.models.networks.bcresnet import SubSpectralNorm
from earful.training.export.tflite.tflite_error import TfliteError

_SMALLEST_SCALE = 1e-3
KINDS_IN_C = ("mfcc", "log_mel")


class FeatureGraph(nn.Module):
    """Waveforms (batch, clip_samples) in [-1, 1] to normalised features (batch, bins, frames)."""

    def __init__(self, model: WaveformClassifier) -> None:
        super().__init__()
        self.extractor = model.extractor
        self.classifier = model.classifier

    def forward(self, waveform: Tensor) -> Tensor:
        return self.classifier.normalise(self.extractor(waveform))


class ScoreGraph(nn.Module):
    """Normalised features (batch, bins, frames) to scores (batch, labels)."""

    def __init__(self, model: WaveformClassifier) -> None:
        super().__init__()
        self.model = model
        self.network = model.classifier.network

    def forward(self, features: Tensor) -> Tensor:
        return self.model.to_probabilities(self.network.embed(features))


class RowAffine(nn.Module):
    """The rest of a ``SubSpectralNorm`` in evaluation: a scale and a shift for each row.

    Where channels come last, as in TFLite, each of its two reshapes would cost two transposes.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def prepare_for_tflite(model: WaveformClassifier) -> WaveformClassifier:
    """A copy of a model as the converter needs it, which computes the same.

    Weights are contiguous: of others it takes the memory in a wrong order. Each ``SubSpectralNorm``
    is folded into the convolution before it. A convolution scales whole channels, so what rows
    differ in remains, as a ``RowAffine``. That all channels then have a variance near 1 is what
    INT8 needs: it has one scale for all.
    """
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
    for layers in [module for module in copied.modules() if isinstance(module, nn.Sequential)]:
        for position, (before, layer) in enumerate(pairwise(list(layers)), 1):
            if isinstance(layer, SubSpectralNorm) and isinstance(before, nn.Conv2d):
                layers[position] = _fold(before, layer)
    return copied


def _fold(convolution: nn.Conv2d, norm: SubSpectralNorm) -> RowAffine:
    """Scale and shift the channels of a convolution by a norm; what is left of the norm."""
    scale, shift = norm.row_scale_and_shift()  # (channels, rows) each
    # A scale of nearly 0 silences its rows: the channel's scale and shift are those of the others.
    channel_scale = scale.abs().clamp_min(_SMALLEST_SCALE).log().mean(dim=1, keepdim=True).exp()
    rest = scale / channel_scale
    shifts = torch.where(scale.abs() > _SMALLEST_SCALE, shift / rest, 0.0)
    channel_shift = shifts.mean(dim=1, keepdim=True)
    with torch.no_grad():
        convolution.weight.mul_(channel_scale[:, :, None, None])
    convolution.bias = nn.Parameter(channel_shift[:, 0])
    return RowAffine(rest[None, :, :, None], (shift - channel_shift * rest)[None, :, :, None])


class ExportGraph(nn.Module):
    """What becomes the TFLite file: inputs (1, ...) to scores (1, labels).

    An input is a waveform (clip_samples,); with the features outside, the normalised features
    (bins, frames) of one.

    Raises:
        TfliteError: features outside of a network that takes neither MFCC nor log-mel.
    """

    def __init__(self, model: WaveformClassifier, *, features_outside: bool) -> None:
        super().__init__()
        kind = model.extractor.kind
        if features_outside and kind not in KINDS_IN_C:
            raise TfliteError(
                f"the features of this network are {kind!r}, and those that --features-outside "
                f"can describe are {' and '.join(KINDS_IN_C)}; leave it out"
            )
        self.features_outside = features_outside
        self.features = FeatureGraph(model)
        self.scores = ScoreGraph(prepare_for_tflite(model))
        self.clip_samples = model.extractor.config.clip_samples

    def forward(self, x: Tensor) -> Tensor:
        """Scores (1, labels) of an input (1, ...)."""
        return cast("Tensor", self.scores(x if self.features_outside else self.features(x)))

    def inputs(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inputs (clips, ...) of waveforms (clips, clip_samples), float32 both."""
        if not self.features_outside:
            return waveforms
        with torch.inference_mode():
            features: Tensor = self.features(torch.from_numpy(waveforms))
        return features.numpy()

    def examples(self) -> tuple[Tensor, ...]:
        """What ``forward`` takes, for a clip of silence."""
        return (torch.from_numpy(self.inputs(np.zeros((1, self.clip_samples), np.float32))),)

    def describe(self) -> dict[str, Any]:
        """What its metadata says beside the shapes of input and output."""
        return {}

    @property
    def input_names(self) -> list[str]:
        return ["features" if self.features_outside else "waveform"]

    @property
    def output_names(self) -> list[str]:
        return ["scores"]
