"""The losses of classification, over target values (clips, labels): in nats, a mean over clips.

Targets are shares of labels (cross-entropy, focal: they sum to one) or of presence (bce: each from
0 to 1), so that mixup and smoothing need nothing of their own.
"""

from torch import Tensor
from torch.nn import functional

from earful.training.config.train_config import Loss, TrainConfig


def classification_loss(
    logits: Tensor, targets: Tensor, config: TrainConfig, weights: Tensor | None = None
) -> Tensor:
    """What is learnt from: the loss of ``config`` with its smoothing; ``weights`` (labels,).

    In float32, whatever the network computed in.
    """
    n_labels = targets.shape[1]
    uniform = 0.5 if config.loss == "bce" else 1 / n_labels
    running_mean = targets + config.label_smoothing * (uniform - targets)
    return _loss(logits.float(), running_mean, config.loss, config.focal_gamma, weights)


def comparison_loss(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """What runs are compared by: cross-entropy, or bce, without weights and smoothing."""
    return _loss(logits.float(), targets, "bce" if loss == "bce" else "cross-entropy", 0.0, None)


def _loss(
    logits: Tensor, targets: Tensor, loss: Loss, focal_gamma: float, weights: Tensor | None
) -> Tensor:
    if loss == "bce":
        element_losses = functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=weights, reduction="none"
        )
        return element_losses.sum(dim=1).mean()
    log_probabilities = functional.log_softmax(logits, dim=1)
    if loss == "focal":  # arXiv:1708.02002, equation 4, without its alpha, which is ``weights``
        log_probabilities = log_probabilities * (1 - log_probabilities.exp()).clamp_min(0) ** focal_gamma
    losses = -targets * log_probabilities
    return (losses if weights is None else losses * weights).sum(dim=1).mean()


def correct_predictions(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Which clips (clips,) are answered as their targets say.

    With bce exactly the labels that they have; a mixed clip counts by the larger shares.
    """
    if loss == "bce":
        return (_predicted_labels(logits) == (targets > 0.5)).all(dim=1)
    return logits.argmax(dim=1) == targets.argmax(dim=1)


def _predicted_labels(logits: Tensor) -> Tensor:
    """Labels (clips, labels) that are said, as ``models.bundle.decision.said_labels`` has it."""
    is_top = functional.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()
    return (logits >= 0) | is_top


def has_label(targets: Tensor, loss: Loss) -> Tensor:
    """Which clips (clips,) have an answer: those that hold a label."""
    absent_value = 0.0 if loss == "bce" else targets.amin(dim=1)
    return targets.amax(dim=1) > absent_value
