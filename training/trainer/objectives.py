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
from earful.models.networks.autoencoder import levelled
from earful.models.networks.zoo import Task, entry
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.loader import StoredFeatures
from earful.training.metrics.calibration import Calibration, calibrate, scores_of
from earful.training.trainer.distributed import Team
from earful.training.trainer.losses import (
    answerable,
    classification_loss,
    plain_loss,
    right_answers,
)


@dataclass(frozen=True)
class Judged:
    """A batch: its mean loss, how many clips were answered rightly, and how many could be."""

    loss: Tensor
    right: Tensor
    answerable: Tensor


class Objective(Protocol):
    """What training asks of a task; features are raw, (batch, bins, frames)."""

    has_labels: bool

    def judge(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> Judged:
        """A training batch with its targets (batch, labels) and the weights of labels (labels,)."""
        ...

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, team: Team
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

    def judge(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> Judged:
        logits = model(features)
        known = answerable(targets, config.loss)
        right = right_answers(logits.detach(), targets, config.loss) & known
        loss = classification_loss(logits, targets, config, weights)
        return Judged(loss, right.sum(), known.sum())

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, team: Team
    ) -> tuple[float, float]:
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=model.mean.device)
        with torch.inference_mode():
            for features, targets in batches.in_order(team.rank, team.size):
                logits = model(features)
                loss = plain_loss(logits, targets, config.loss) * len(targets)
                right = right_answers(logits, targets, config.loss).sum()
                sums += torch.stack([loss.double(), right.double()])
        loss_sum, n_right = team.total(sums).tolist()
        n_clips = len(batches.epoch)
        return loss_sum / n_clips, n_right / n_clips

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> Calibration:
        logits, held = predict_logits(model, batches)
        return calibrate(logits, held, scores_of(config.loss))


class Reconstruction:
    """The features again: mean squared error, in squared standard deviations of a bin."""

    has_labels = False

    def judge(
        self,
        model: NormalisedNetwork,
        features: Tensor,
        targets: Tensor,
        config: TrainConfig,
        weights: Tensor | None,
    ) -> Judged:
        del targets, config, weights  # of labels
        nothing = torch.zeros((), device=features.device)
        return Judged(reconstruction_error(model, features).mean(), nothing, nothing)

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig, team: Team
    ) -> tuple[float, None]:
        del config
        model.eval()
        total = torch.zeros((), dtype=torch.float64, device=model.mean.device)
        with torch.inference_mode():
            for features, _ in batches.in_order(team.rank, team.size):
                total += reconstruction_error(model, features).double().sum()
        return float(team.total(total)) / len(batches.epoch), None

    def calibrate(
        self, model: NormalisedNetwork, batches: StoredFeatures, config: TrainConfig
    ) -> None:
        del model, batches, config  # there are no scores


OBJECTIVES: dict[Task, Objective] = {
    "classification": Classification(),
    "reconstruction": Reconstruction(),
}


def objective_of(model: str) -> Objective:
    """What a network of the zoo is trained for.

    Raises:
        EarfulError: no network of this name; the message lists those there are.
    """
    return OBJECTIVES[entry(model).task]


def reconstruction_error(model: NormalisedNetwork, features: Tensor) -> Tensor:
    """Mean squared error (batch,) of what an autoencoder makes of raw features."""
    normalised = model.normalise(features)
    difference: Tensor = model.network(normalised) - levelled(normalised)
    return difference.square().mean(dim=(1, 2))


def predict_logits(
    model: NormalisedNetwork, batches: StoredFeatures
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits (clips, labels) without dropout, and which labels the clips hold (clips, labels)."""
    model.eval()
    with torch.inference_mode():
        found = [(model(x).cpu(), targets.cpu() > 0.5) for x, targets in batches.in_order()]
    logits, held = (torch.cat(parts) for parts in zip(*found, strict=True))
    return logits.numpy(), held.numpy()
