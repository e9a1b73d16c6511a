"""What a network is trained for: the loss of a batch, and how a network is measured.

A network that classifies learns by cross-entropy and has an accuracy and a calibration; one that
reconstructs learns by the squared error, and has neither.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.autoencoder import levelled
from models.pipeline import NormalisedNetwork
from models.zoo import Task, entry
from training.batches import StoredFeatures
from training.calibration import Calibration, calibrate
from training.config import TrainConfig


@dataclass(frozen=True)
class Judged:
    """A batch: its mean loss, how many clips were answered rightly, and how many could be."""

    loss: Tensor
    right: Tensor
    answerable: Tensor


class Objective(Protocol):
    """What training asks of a task; features are raw, (batch, bins, frames)."""

    def judge(
        self, model: NormalisedNetwork, features: Tensor, targets: Tensor, config: TrainConfig
    ) -> Judged:
        """A training batch with its target distributions (batch, labels)."""
        ...

    def measure(
        self, model: NormalisedNetwork, batches: StoredFeatures
    ) -> tuple[float, float | None]:
        """Mean loss and accuracy without dropout; None where there is no accuracy."""
        ...

    def calibrate(self, model: NormalisedNetwork, batches: StoredFeatures) -> Calibration | None:
        """What scores need to mean what they say; None where there are no scores."""
        ...


class Classification:
    """Labels: cross-entropy in nats."""

    def judge(
        self, model: NormalisedNetwork, features: Tensor, targets: Tensor, config: TrainConfig
    ) -> Judged:
        logits = model(features)
        loss = functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        has_label = targets.amax(1) > targets.amin(1)
        right = (logits.detach().argmax(1) == targets.argmax(1)) & has_label
        return Judged(loss, right.sum(), has_label.sum())

    def measure(self, model: NormalisedNetwork, batches: StoredFeatures) -> tuple[float, float]:
        logits, targets = map(torch.from_numpy, predict_logits(model, batches))
        accuracy = (logits.argmax(1) == targets).double().mean()
        return float(functional.cross_entropy(logits, targets)), float(accuracy)

    def calibrate(self, model: NormalisedNetwork, batches: StoredFeatures) -> Calibration:
        logits, targets = predict_logits(model, batches)
        return calibrate(logits, np.eye(batches.n_labels, dtype=np.bool_)[targets], "softmax")


class Reconstruction:
    """The features again: mean squared error, in squared standard deviations of a bin."""

    def judge(
        self, model: NormalisedNetwork, features: Tensor, targets: Tensor, config: TrainConfig
    ) -> Judged:
        del targets, config  # of labels
        nothing = torch.zeros((), device=features.device)
        return Judged(reconstruction_error(model, features).mean(), nothing, nothing)

    def measure(self, model: NormalisedNetwork, batches: StoredFeatures) -> tuple[float, None]:
        model.eval()
        with torch.inference_mode():
            errors = [reconstruction_error(model, x).cpu() for x, _ in batches.in_order()]
        return float(torch.cat(errors).mean()), None

    def calibrate(self, model: NormalisedNetwork, batches: StoredFeatures) -> None:
        del model, batches  # there are no scores


OBJECTIVES: dict[Task, Objective] = {
    "classification": Classification(),
    "reconstruction": Reconstruction(),
}


def objective_of(model: str) -> Objective:
    """What a network of the zoo is trained for.

    Raises:
        EarshotError: no network of this name; the message lists those there are.
    """
    return OBJECTIVES[entry(model).task]


def reconstruction_error(model: NormalisedNetwork, features: Tensor) -> Tensor:
    """Mean squared error (batch,) of what an autoencoder makes of raw features."""
    normalised = model.normalise(features)
    difference: Tensor = model.network(normalised) - levelled(normalised)
    return difference.square().mean(dim=(1, 2))


def predict_logits(
    model: NormalisedNetwork, batches: StoredFeatures
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (clips, labels) without dropout, and targets (clips,)."""
    model.eval()
    with torch.inference_mode():
        logits = [model(features).cpu() for features, _ in batches.in_order()]
    return torch.cat(logits).numpy(), batches.targets.cpu().numpy()
