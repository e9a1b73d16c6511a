"""Labels of unlike size: how much a clip counts, or how often it is read."""

import torch
from torch import Tensor

# A label with one clip among a million would otherwise be nearly all that is learnt from.
MOST_WEIGHT = 100.0


def label_counts(held: Tensor, n_labels: int) -> Tensor:
    """Clips of each label (labels,) as float; ``held`` as in ``training.loaders.loader.Targets``."""
    if held.dim() == 2:
        return held.sum(dim=0).float()
    return torch.bincount(held[held >= 0], minlength=n_labels).float()


def loss_weights(held: Tensor, n_labels: int) -> Tensor:
    """Weight of each label (labels,) in a loss over all: inverse to its clips, 1 for a mean one.

    The usual ``n_clips / (n_labels * count)``, as scikit-learn's ``class_weight="balanced"``; of a
    label without a clip 1, and 100 at most.
    """
    counts = label_counts(held, n_labels)
    weights = counts.sum() / (n_labels * counts.clamp_min(1))
    return torch.where(counts > 0, weights.clamp_max(MOST_WEIGHT), 1.0)


def positive_weights(held: Tensor, n_labels: int) -> Tensor:
    """Weight of having a label (labels,) where each is judged by itself: absences to presences."""
    counts = label_counts(held, n_labels)
    weights = (len(held) - counts) / counts.clamp_min(1)
    return torch.where(counts > 0, weights.clamp(1 / MOST_WEIGHT, MOST_WEIGHT), 1.0)


def sampling_weights(held: Tensor, n_labels: int) -> Tensor:
    """Chance of each clip (clips,) to be read, in proportion: all labels are read equally often.

    A clip with several labels counts as one of its rarest; one with none as a label of its own.
    """
    counts = label_counts(held, n_labels)
    if held.dim() == 2:
        has_label = held.any(dim=1)
        rarity = torch.where(held, counts, torch.inf).amin(dim=1)
    else:
        has_label = held >= 0
        rarity = counts[held.clamp_min(0)]
    nameless = (~has_label).sum().float()
    return 1 / torch.where(has_label, rarity, nameless).clamp_min(1)
