"""Labels of unlike size: how much a clip counts, or how often it is read."""

import torch
from torch import Tensor

# A label with one clip among a million would otherwise be nearly all that is learnt from.
MAX_WEIGHT = 100.0


def label_counts(targets: Tensor, n_labels: int) -> Tensor:
    """Clips of each label (labels,) as float; ``held`` as in ``training.loaders.loader.Targets``."""
    if targets.dim() == 2:
        return targets.sum(dim=0).float()
    return torch.bincount(targets[targets >= 0], minlength=n_labels).float()


def class_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Weight of each label (labels,) in a loss over all: inverse to its clips, 1 for a mean one.

    The usual ``n_clips / (n_labels * count)``, as scikit-learn's ``class_weight="balanced"``; of a
    label without a clip 1, and 100 at most.
    """
    counts = label_counts(targets, n_labels)
    weights = counts.sum() / (n_labels * counts.clamp_min(1))
    return torch.where(counts > 0, weights.clamp_max(MAX_WEIGHT), 1.0)


def positive_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Weight of having a label (labels,) where each is judged by itself: absences to presences."""
    counts = label_counts(targets, n_labels)
    weights = (len(targets) - counts) / counts.clamp_min(1)
    return torch.where(counts > 0, weights.clamp(1 / MAX_WEIGHT, MAX_WEIGHT), 1.0)


def sampling_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Chance of each clip (clips,) to be read, in proportion: all labels are read equally often.

    A clip with several labels counts as one of its rarest; one with none as a label of its own.
    """
    counts = label_counts(targets, n_labels)
    if targets.dim() == 2:
        has_label = targets.any(dim=1)
        rarity = torch.where(targets, counts, torch.inf).amin(dim=1)
    else:
        has_label = targets >= 0
        rarity = counts[targets.clamp_min(0)]
    unlabelled = (~has_label).sum().float()
    return 1 / torch.where(has_label, rarity, unlabelled).clamp_min(1)
