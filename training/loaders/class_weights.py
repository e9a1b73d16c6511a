"""Imbalanced labels: weights in the loss, or sampling probabilities.

``targets`` are ``training.loaders.sampler.Targets.values``: label positions (clips,), -1 without a
label, or a label matrix (clips, labels) bool.
"""

import torch
from torch import Tensor

# Otherwise a label with one clip among a million would dominate the loss.
MAX_WEIGHT = 100.0


def label_counts(targets: Tensor, n_labels: int) -> Tensor:
    """Clips of each label, (labels,) float."""
    if targets.dim() == 2:
        return targets.sum(dim=0).float()
    return torch.bincount(targets[targets >= 0], minlength=n_labels).float()


def class_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Weight of each label (labels,) in a softmax loss: ``n_clips / (n_labels * count)``.

    As scikit-learn's ``class_weight="balanced"``; 1 for a label without a clip, at most 100.
    """
    counts = label_counts(targets, n_labels)
    weights = counts.sum() / (n_labels * counts.clamp_min(1))
    return torch.where(counts > 0, weights.clamp_max(MAX_WEIGHT), 1.0)


def positive_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Weight of positives (labels,) in binary cross-entropy: negatives over positives."""
    counts = label_counts(targets, n_labels)
    weights = (len(targets) - counts) / counts.clamp_min(1)
    return torch.where(counts > 0, weights.clamp(1 / MAX_WEIGHT, MAX_WEIGHT), 1.0)


def sampling_weights(targets: Tensor, n_labels: int) -> Tensor:
    """Sampling weight of each clip (clips,), so that all labels are read equally often.

    A clip with several labels counts as its rarest one; clips without a label count as one more
    label.
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
