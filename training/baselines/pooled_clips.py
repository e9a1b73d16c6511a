"""What a baseline makes of stored features whose clips have one label each."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.layers.pooling import pooled_functionals
from earful.models.networks.baselines.fitted import PooledBaseline
from earful.training.loaders.loader import StoredFeatures
from earful.training.loaders.sampler import EpochSampler

# Where a baseline is fitted.
CPU = torch.device("cpu")

LabelIndices = NDArray[np.int64]


def select_label(
    clips: StoredFeatures, label: int, max_clips: int, generator: np.random.Generator
) -> StoredFeatures:
    """The clips of one label, ``most`` of them drawn where there are more."""
    positions = np.flatnonzero(label_indices(clips) == label)
    if len(positions) > max_clips:
        positions = np.sort(generator.choice(positions, max_clips, replace=False))
    return replace(clips, sampler=EpochSampler(clips.sampler.rows[torch.from_numpy(positions)]))


def label_indices(clips: StoredFeatures) -> LabelIndices:
    """The position of each clip's label (clips,), in their order."""
    found: LabelIndices = clips.targets.values[clips.sampler.rows].numpy()
    return found


def fit_embeddings(model: NormalisedNetwork, network: PooledBaseline, clips: StoredFeatures) -> Tensor:
    """Fit the standardisation of pooled features, and return them (clips, size)."""
    standardiser = network.standardiser
    found = torch.empty(len(clips.sampler), len(standardiser.mean))
    start = 0
    for features, _ in clips.sequential_batches():
        found[start : start + len(features)] = pooled_functionals(model.normalise(features))
        start += len(features)
    standardiser.fit(found)
    # In place: of many clips, a second array is gigabytes.
    return found.sub_(standardiser.mean).div_(standardiser.std)
