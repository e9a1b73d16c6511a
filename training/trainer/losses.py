"""Classification losses over targets (clips, labels), in nats, averaged over clips.

Targets are soft, so that mixup and label smoothing need no special case: a distribution over the
labels (cross-entropy, focal), or a value from 0 to 1 for each label (bce).
"""

from torch import Tensor
from torch.nn import functional

from earful.training.config.train_config import Loss, TrainConfig


def classification_loss(
    logits: Tensor, targets: Tensor, config: TrainConfig, weights: Tensor | None = None
) -> Tensor:
    """The training loss of ``config``, with label smoothing and label ``weights`` (labels,).

    Computed in float32 also for logits of lower precision.
    """
    n_labels = targets.shape[1]
    uniform = 0.5 if config.loss == "bce" else 1 / n_labels
    smoothed = targets + config.label_smoothing * (uniform - targets)
    return _loss(logits.float(), smoothed, config.loss, config.focal_gamma, weights)


def comparison_loss(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """The validation loss, comparable between runs: cross-entropy or bce without options."""
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
        log_probabilities = (
            log_probabilities * (1 - log_probabilities.exp()).clamp_min(0) ** focal_gamma
        )
    losses = -targets * log_probabilities
    return (losses if weights is None else losses * weights).sum(dim=1).mean()


def correct_predictions(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Which clips (clips,) are predicted correctly; with bce, all labels of the clip and no other.

    The label of a mixed clip is the one with the larger share.
    """
    if loss == "bce":
        return (_predicted_labels(logits) == (targets > 0.5)).all(dim=1)
    return logits.argmax(dim=1) == targets.argmax(dim=1)


def _predicted_labels(logits: Tensor) -> Tensor:
    """Predicted labels (clips, labels), as ``models.bundle.decision.predicted_label_mask``."""
    is_top = functional.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()
    return (logits >= 0) | is_top


def has_label(targets: Tensor, loss: Loss) -> Tensor:
    """Which clips (clips,) have a label."""
    absent_value = 0.0 if loss == "bce" else targets.amin(dim=1)
    return targets.amax(dim=1) > absent_value
