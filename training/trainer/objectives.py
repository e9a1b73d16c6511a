"""Training objectives: the loss of a batch, and the validation of a network.

Classification has a loss over labels, an accuracy and a calibration; reconstruction has a mean
squared error only.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.autoencoder import centred
from earful.models.networks.zoo import NetworkTask, zoo_entry
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.loader import StoredFeatures
from earful.training.metrics.calibration import Calibration, calibrate, score_kind_for_loss
from earful.training.trainer.devices import sum_dtype
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.losses import (
    classification_loss,
    comparison_loss,
    correct_predictions,
    has_label,
)


@dataclass(frozen=True)
class BatchResult:
    """Mean loss of a batch, its correctly predicted clips, and its clips with a label; scalars."""

    loss: Tensor
    n_correct: Tensor
    n_labelled: Tensor


class TrainingObjective(Protocol):
    """Loss, validation and calibration of a task; features are raw, (batch, bins, frames)."""

    has_labels: bool

    def compute_loss(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> BatchResult:
        """The result of a training batch; targets (batch, labels), label weights (labels,)."""
        ...

    def measure(
        self,
        model: NormalisedNetwork,
        batches: StoredFeatures,
        config: TrainConfig,
        dist_context: DistributedContext,
    ) -> tuple[float, float | None]:
        """Mean loss and accuracy in evaluation mode; accuracy None for tasks without labels."""
        ...

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> Calibration | None:
        """The calibration of the scores; None for tasks without scores."""
        ...


class Classification:
    """Classification with a loss of ``training.trainer.losses``, in nats."""

    has_labels = True

    def compute_loss(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> BatchResult:
        logits = model(features)
        labelled = has_label(targets, config.loss)
        correct = correct_predictions(logits.detach(), targets, config.loss) & labelled
        loss = classification_loss(logits, targets, config, weights)
        return BatchResult(loss, correct.sum(), labelled.sum())

    def measure(
        self,
        model: NormalisedNetwork,
        batches: StoredFeatures,
        config: TrainConfig,
        dist_context: DistributedContext,
    ) -> tuple[float, float]:
        model.eval()
        dtype = sum_dtype(model.mean.device)
        sums = torch.zeros(2, dtype=dtype, device=model.mean.device)
        with torch.inference_mode():
            for features, targets in batches.sequential_batches(
                dist_context.rank, dist_context.world_size
            ):
                logits = model(features)
                loss = comparison_loss(logits, targets, config.loss) * len(targets)
                correct = correct_predictions(logits, targets, config.loss).sum()
                sums += torch.stack([loss.to(dtype), correct.to(dtype)])
        loss_sum, n_correct = dist_context.total(sums).tolist()
        n_clips = len(batches.sampler)
        return loss_sum / n_clips, n_correct / n_clips

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> Calibration:
        logits, label_matrix = predict_logits(model, batches)
        return calibrate(logits, label_matrix, score_kind_for_loss(config.loss))


class Reconstruction:
    """Reconstruction of features: mean squared error, in squared standard deviations of a bin."""

    has_labels = False

    def compute_loss(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> BatchResult:
        del targets, config, weights  # there are no labels
        zero = torch.zeros((), device=features.device)
        return BatchResult(reconstruction_error(model, features).mean(), zero, zero)

    def measure(
        self,
        model: NormalisedNetwork,
        batches: StoredFeatures,
        config: TrainConfig,
        dist_context: DistributedContext,
    ) -> tuple[float, None]:
        del config
        model.eval()
        dtype = sum_dtype(model.mean.device)
        total = torch.zeros((), dtype=dtype, device=model.mean.device)
        with torch.inference_mode():
            for features, _ in batches.sequential_batches(
                dist_context.rank, dist_context.world_size
            ):
                total += reconstruction_error(model, features).to(dtype).sum()
        return float(dist_context.total(total)) / len(batches.sampler), None

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> None:
        del model, batches, config  # there are no scores


OBJECTIVES: dict[NetworkTask, TrainingObjective] = {
    "classification": Classification(),
    "reconstruction": Reconstruction(),
}


def objective_for(model: str) -> TrainingObjective:
    """The training objective of a network of the zoo.

    Raises:
        EarfulError: an unknown network; the message lists the known ones.
    """
    return OBJECTIVES[zoo_entry(model).task]


def reconstruction_error(model: NormalisedNetwork, features: Tensor) -> Tensor:
    """Mean squared reconstruction error (batch,) of an autoencoder on raw features."""
    normalised = model.normalise(features)
    difference: Tensor = model.network(normalised) - centred(normalised)
    return difference.square().mean(dim=(1, 2))


def predict_logits(
    model: NormalisedNetwork, batches: StoredFeatures
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits (clips, labels) in evaluation mode, and the label matrix (clips, labels) bool."""
    model.eval()
    with torch.inference_mode():
        outputs = [
            (model(x).cpu(), targets.cpu() > 0.5) for x, targets in batches.sequential_batches()
        ]
    logits, label_matrix = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return logits.numpy(), label_matrix.numpy()
