"""A new run that begins where an earlier one ended: its weights, with the head the labels need."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from earful.data.dataset.dataset import Dataset
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.config.train_config import TrainConfig
from earful.training.trainer.checkpoint import Checkpoint

# Tried on one speaker of FSDD with a hundred new clips: a third of the rate brought 97 % on that
# voice, half 100 % without a loss on the others, all of it lost two of 250 of their clips; half the
# epochs in new clips in place of three tenths changed nothing.
# New clips make up at least this share of what an epoch reads; the rest is replay of the base.
NEW_SHARE = 0.3
_MOST_REPEATS = 20
_EPOCHS = 10
# Of the rate that the network was first trained with, at its peak.
_RATE_SHARE = 0.5


def warm_config(config: TrainConfig, epochs: int | None, seed: int) -> TrainConfig:
    """Settings to go on from trained weights with: fewer epochs, smaller steps, no early stop."""
    epochs = _EPOCHS if epochs is None else epochs
    return replace(
        config, epochs=epochs, patience=epochs, seed=seed, oversample=1, schedule="one-cycle",
        learning_rate=_RATE_SHARE * config.learning_rate,
    )  # fmt: skip


def warm_start(earlier: Checkpoint, labels: Sequence[str], seed: int) -> Checkpoint:
    """The checkpoint before the first epoch: what was learnt, and a fresh row for each new label.

    The head's rows of labels that are no longer wanted are dropped.
    """
    bins = earlier.features.bins(earlier.config.features)
    torch.manual_seed(seed)
    network = build_network(
        earlier.config.model, bins, earlier.features.frames, len(labels), earlier.config.options
    )
    fresh = NormalisedNetwork(network, torch.zeros(bins), torch.ones(bins)).state_dict()
    position = {label: i for i, label in enumerate(earlier.labels)}
    kept = [(i, position[label]) for i, label in enumerate(labels) if label in position]
    to = torch.tensor([i for i, _ in kept], dtype=torch.long)
    of = torch.tensor([i for _, i in kept], dtype=torch.long)
    weights = dict(earlier.weights)
    for name in ("network.head.weight", "network.head.bias"):
        if name in weights:
            weights[name] = fresh[name].index_copy(0, to, earlier.weights[name][of])
    return replace(
        earlier, labels=tuple(labels), weights=weights, raw_weights={}, optimizer={}, history=(),
        calibration=None,
    )  # fmt: skip


def with_emphasis(dataset: Dataset, is_new: Sequence[bool]) -> Dataset:
    """The dataset with its new training clips read often enough to be heard among the others."""
    new = np.asarray(is_new) & (dataset.clips["split"] == "train").to_numpy()
    n_new, n_base = int(new.sum()), len(dataset.rows("train")) - int(new.sum())
    wanted = NEW_SHARE / (1 - NEW_SHARE) * n_base
    oversample_counts = 1 if n_new == 0 else int(np.clip(round(wanted / n_new), 1, _MOST_REPEATS))
    return replace(dataset, oversample_counts=np.where(new, oversample_counts, 1))
