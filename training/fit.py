"""A dataset to trained weights: read it from top to bottom.

Every epoch is seeded by (seed, epoch) and leaves a checkpoint, so that a run that was killed goes
on from its last epoch and ends with the weights of a run that was not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.augment import UNCHANGED, Recipe
from data.dataset import Dataset
from models.device import Device
from models.pipeline import NormalisedNetwork
from models.zoo import build
from training.batches import (
    EVALUATION_BATCH,
    Batches,
    StoredFeatures,
    augmented_features,
    augmented_waveforms,
    stored_features,
)
from training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
)
from training.company import ALONE, Company
from training.config import TrainConfig, TrainingError
from training.learner import Learner
from training.objectives import objective_of


@dataclass(frozen=True)
class FitResult:
    """The best epoch's network (on the CPU, in evaluation mode) and how the run went."""

    network: NormalisedNetwork
    checkpoint: Checkpoint
    device: str
    resumed_after: int


def choose_device(choice: Device) -> torch.device:
    """The device to train on: ``auto`` takes CUDA when there is one.

    Raises:
        TrainingError: CUDA asked for and absent.
    """
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise TrainingError(
            "CUDA was asked for and no CUDA device is usable; use --device auto or cpu"
        )
    return torch.device("cuda" if available and choice != "cpu" else "cpu")


def fit(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    company: Company = ALONE,
    start: Checkpoint | None = None,
    device: Device = "auto",
    resume: bool = False,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Train ``config.model`` on the dataset's training clips, into the folder ``run``.

    The company is trained on besides. ``start`` has the weights to begin with, fresh ones without
    it. ``on_batch`` hears (epoch, batches done, batches
    in all), ``on_epoch`` each finished epoch.

    Raises:
        TrainingError: a run is there already, the checkpoint to resume is of other data or
            settings, there is nothing to train or validate on, or the loss is no longer finite.
    """
    place = choose_device(device)
    train = _training_batches(dataset, company, config, place)
    data_hash = company.content_hash(dataset)
    checkpoint = begun(run, config, data_hash) if resume else None
    if checkpoint is None:
        checkpoint = _first(dataset, train, data_hash, run, config, start)
    resumed_after = len(checkpoint.history)
    val = stored_features(dataset, config.features, "val", place)
    val_as_trained = _as_trained(dataset, val, config, place)
    objective = objective_of(config.model)
    learner = Learner.at(checkpoint, place)
    while not _finished(checkpoint):
        epoch = len(checkpoint.history) + 1
        began = time.perf_counter()
        loss, accuracy = learner.train_epoch(train, config, epoch, on_batch)
        val_loss, val_accuracy = objective.measure(learner.released, val)
        if not np.isfinite(loss) or not np.isfinite(val_loss):
            raise TrainingError(
                f"the loss of epoch {epoch} is {loss}; lower --learning-rate "
                f"(now {config.learning_rate:g}). {run} keeps what was learnt before"
            )
        record = EpochRecord(
            epoch, loss, accuracy, val_loss, val_accuracy, time.perf_counter() - began,
            learner.optimizer.param_groups[0]["lr"],
        )  # fmt: skip
        checkpoint = learner.checkpoint(checkpoint, record)
        if checkpoint.best is record:
            calibration = objective.calibrate(learner.released, val_as_trained)
            save_checkpoint(run / BEST, replace(checkpoint, calibration=calibration))
        save_checkpoint(run / LAST, checkpoint)
        on_epoch(record)
    best = replace(load_checkpoint(run / BEST), history=checkpoint.history)
    return FitResult(rebuild_network(best), best, str(place), resumed_after)


def _as_trained(
    dataset: Dataset, val: StoredFeatures, config: TrainConfig, device: torch.device
) -> StoredFeatures:
    """The validation clips in the conditions of training, which is what scores are calibrated for.

    A network that was trained on noise answers the clean clips of known voices almost perfectly;
    calibrated on these it would be far too sure of itself everywhere else.
    """
    if not config.augment:
        return val
    return augmented_features(dataset, config.features, "val", Recipe(), config.seed, device)


def _training_batches(
    dataset: Dataset, company: Company, config: TrainConfig, device: torch.device
) -> Batches:
    changed = config.augment or config.mixup or config.repeats > 1
    if company == ALONE and not changed:
        return stored_features(dataset, config.features, "train", device)
    recipe = replace(Recipe() if config.augment else UNCHANGED, p_mixup=config.mixup)
    return augmented_waveforms(
        dataset, company, config.features, recipe, device,
        repeats=config.repeats, noise_only=config.noise_only if company.others else 0.0,
    )  # fmt: skip


def begun(run: Path, config: TrainConfig, data_hash: str) -> Checkpoint | None:
    """The checkpoint to go on from, if the run has begun."""
    last = run / LAST
    if not last.is_file():
        return None
    found = load_checkpoint(last)
    changed = config.differences(found.config)
    if found.dataset_hash != data_hash:
        changed.append("the dataset's content")
    if changed:
        raise TrainingError(
            f"{run} was trained with other settings ({'; '.join(changed)}); "
            "resume with the same ones, or give another --out"
        )
    return replace(found, config=config)


def _first(
    dataset: Dataset,
    train: Batches,
    data_hash: str,
    run: Path,
    config: TrainConfig,
    start: Checkpoint | None,
) -> Checkpoint:
    """The checkpoint before the first epoch: of a fresh network, or with ``start``'s weights."""
    if (run / LAST).exists():
        raise TrainingError(f"{run} holds a run; go on with --resume, or give another --out")
    if start is not None:
        return replace(start, config=config, dataset_hash=data_hash)
    bins = dataset.features.bins(config.features)
    torch.manual_seed(config.seed)
    network = build(
        config.model, bins, dataset.features.frames, len(dataset.labels), config.options
    )
    mean, deviation = feature_statistics(train, config.seed)
    weights = NormalisedNetwork(network, mean, deviation).state_dict()
    return Checkpoint(
        config, dataset.features, dataset.labels, data_hash, dict(weights), {}, {}, ()
    )


def feature_statistics(batches: Batches, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bins,) of all that an epoch of training clips holds."""
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for features, _ in batches.shuffled(EVALUATION_BATCH, seed):
        part = features.double()
        total = total.to(part) + part.sum(dim=(0, 2))
        squares = squares.to(part) + part.square().sum(dim=(0, 2))
        count += part.shape[0] * part.shape[2]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean.float().cpu(), deviation.float().cpu()


def _finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience
