"""Stored features as input of baselines: label positions and pooled embeddings."""

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

# Baselines are fitted on the CPU.
CPU = torch.device("cpu")

LabelIndices = NDArray[np.int64]


def select_label(
    clips: StoredFeatures, label: int, max_clips: int, generator: np.random.Generator
) -> StoredFeatures:
    """The clips of one label; ``max_clips`` of them, drawn at random, if there are more."""
    positions = np.flatnonzero(label_indices(clips) == label)
    if len(positions) > max_clips:
        positions = np.sort(generator.choice(positions, max_clips, replace=False))
    return replace(clips, sampler=EpochSampler(clips.sampler.rows[torch.from_numpy(positions)]))


def label_indices(clips: StoredFeatures) -> LabelIndices:
    """The label position of each clip (clips,), in the order of the sampler's rows."""
    indices: LabelIndices = clips.targets.values[clips.sampler.rows].numpy()
    return indices


def fit_embeddings(
    model: NormalisedNetwork, network: PooledBaseline, clips: StoredFeatures
) -> Tensor:
    """Fit the standardiser to the pooled functionals; return these standardised (clips, size)."""
    standardiser = network.standardiser
    embeddings = torch.empty(len(clips.sampler), len(standardiser.mean))
    start = 0
    for features, _ in clips.sequential_batches():
        embeddings[start : start + len(features)] = pooled_functionals(model.normalise(features))
        start += len(features)
    standardiser.fit(embeddings)
    # In place: for many clips, a second array takes gigabytes.
    return embeddings.sub_(standardiser.mean).div_(standardiser.std)
