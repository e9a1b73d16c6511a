"""What a baseline makes of stored features whose clips have one label each."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.layers.pooling import pooled
from earful.models.networks.baselines.fitted import PooledBaseline
from earful.training.loaders.loader import StoredFeatures
from earful.training.loaders.sampler import Epoch

# Where a baseline is fitted.
CPU = torch.device("cpu")

Labels = NDArray[np.int64]


def only(
    clips: StoredFeatures, label: int, most: int, generator: np.random.Generator
) -> StoredFeatures:
    """The clips of one label, ``most`` of them drawn where there are more."""
    places = np.flatnonzero(labels_of(clips) == label)
    if len(places) > most:
        places = np.sort(generator.choice(places, most, replace=False))
    return replace(clips, epoch=Epoch(clips.epoch.rows[torch.from_numpy(places)]))


def labels_of(clips: StoredFeatures) -> Labels:
    """The position of each clip's label (clips,), in their order."""
    found: Labels = clips.targets.values[clips.epoch.rows].numpy()
    return found


def embeddings(model: NormalisedNetwork, network: PooledBaseline, clips: StoredFeatures) -> Tensor:
    """Fit the standardisation of pooled features, and return them (clips, size)."""
    standardise = network.standardise
    found = torch.empty(len(clips.epoch), len(standardise.mean))
    start = 0
    for features, _ in clips.in_order():
        found[start : start + len(features)] = pooled(model.normalise(features))
        start += len(features)
    standardise.fit(found)
    # In place: of many clips, a second array is gigabytes.
    return found.sub_(standardise.mean).div_(standardise.deviation)
