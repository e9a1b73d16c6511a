"""``majority``: the shares of the labels."""

import numpy as np
import torch

from models.baselines.majority import Majority
from models.pipeline import NormalisedNetwork
from training.baselines.clips import Clips, embeddings
from training.config import TrainConfig


def log_shares(clips: Clips) -> torch.Tensor:
    """Logarithms (labels,) of the labels' shares."""
    counts = np.bincount(clips.targets, minlength=clips.n_labels)
    return torch.from_numpy(np.log(counts / counts.sum()))


def fit_majority(
    network: Majority, model: NormalisedNetwork, clips: Clips, config: TrainConfig
) -> None:
    """Count the labels; the embedding is standardised as that of the others."""
    del config
    embeddings(model, network, clips)
    network.head.set_fitted(log_shares=log_shares(clips))
