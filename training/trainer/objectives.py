"""What a network is trained for: the loss of a batch, and how a network is measured.

A network that classifies learns by a loss over its labels and has an accuracy and a calibration;
one that reconstructs learns by the squared error, and has neither.
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
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.losses import (
    has_label,
    classification_loss,
    comparison_loss,
    correct_predictions,
)


@dataclass(frozen=True)
class BatchResult:
    """A batch: its mean loss, how many clips were answered rightly, and how many could be."""

    loss: Tensor
    n_correct: Tensor
    n_labelled: Tensor


class TrainingObjective(Protocol):
    """What training asks of a task; features are raw, (batch, bins, frames)."""

    has_labels: bool

    def compute_loss(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> BatchResult:
        """A training batch with its targets (batch, labels) and the weights of labels (labels,)."""
        ...

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, dist_context: DistributedContext
    ) -> tuple[float, float | None]:
        """Mean loss and accuracy without dropout; None where there is no accuracy."""
        ...

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> Calibration | None:
        """What scores need to mean what they say; None where there are no scores."""
        ...


class Classification:
    """Labels: a loss of ``training.trainer.losses``, in nats."""

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
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, dist_context: DistributedContext
    ) -> tuple[float, float]:
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=model.mean.device)
        with torch.inference_mode():
            for features, targets in batches.sequential_batches(dist_context.rank, dist_context.world_size):
                logits = model(features)
                loss = comparison_loss(logits, targets, config.loss) * len(targets)
                correct = correct_predictions(logits, targets, config.loss).sum()
                sums += torch.stack([loss.double(), correct.double()])
        loss_sum, n_right = dist_context.total(sums).tolist()
        n_clips = len(batches.sampler)
        return loss_sum / n_clips, n_right / n_clips

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> Calibration:
        logits, label_matrix = predict_logits(model, batches)
        return calibrate(logits, label_matrix, score_kind_for_loss(config.loss))


class Reconstruction:
    """The features again: mean squared error, in squared standard deviations of a bin."""

    has_labels = False

    def compute_loss(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> BatchResult:
        del targets, config, weights  # of labels
        zero = torch.zeros((), device=features.device)
        return BatchResult(reconstruction_error(model, features).mean(), zero, zero)

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, dist_context: DistributedContext
    ) -> tuple[float, None]:
        del config
        model.eval()
        total = torch.zeros((), dtype=torch.float64, device=model.mean.device)
        with torch.inference_mode():
            for features, _ in batches.sequential_batches(dist_context.rank, dist_context.world_size):
                total += reconstruction_error(model, features).double().sum()
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
    """What a network of the zoo is trained for.

    Raises:
        EarfulError: no network of this name; the message lists those there are.
    """
    return OBJECTIVES[zoo_entry(model).task]


def reconstruction_error(model: NormalisedNetwork, features: Tensor) -> Tensor:
    """Mean squared error (batch,) of what an autoencoder makes of raw features."""
    normalised = model.normalise(features)
    difference: Tensor = model.network(normalised) - centred(normalised)
    return difference.square().mean(dim=(1, 2))


def predict_logits(
    model: NormalisedNetwork, batches: StoredFeatures
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits (clips, labels) without dropout, and which labels the clips hold (clips, labels)."""
    model.eval()
    with torch.inference_mode():
        outputs = [(model(x).cpu(), targets.cpu() > 0.5) for x, targets in batches.sequential_batches()]
    logits, label_matrix = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return logits.numpy(), label_matrix.numpy()
