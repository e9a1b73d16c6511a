"""``majority``: predicts the most frequent label; scores are the label frequencies."""

import numpy as np
import torch

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.majority import Majority
from earful.training.baselines.pooled_clips import label_indices
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.loader import StoredFeatures


def log_prior(clips: StoredFeatures) -> torch.Tensor:
    """Logarithms (labels,) of the label frequencies."""
    counts = np.bincount(label_indices(clips), minlength=clips.targets.n_labels)
    return torch.from_numpy(np.log(counts / counts.sum()))


def fit_majority(
    network: Majority, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Count the labels; the embedding is not standardised, since no prediction depends on it."""
    del model, config
    network.head.set_fitted_buffers(log_prior=log_prior(clips))
