"""A dataset to trained weights: read it from top to bottom.

Every epoch is seeded by (seed, epoch) and leaves a checkpoint, so that a run that was killed goes
on from its last epoch and ends with the weights of a run that was not. Several processes
(``training.team``) do the same work together; the first of them writes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.dataset import Dataset
from models.device import Device
from models.pipeline import NormalisedNetwork
from training.batches import Batches, stored_features
from training.begin import (
    as_trained,
    begun,
    check_settings,
    choose_device,
    first_checkpoint,
    training_batches,
)
from training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
)
from training.checkpoint_store import CheckpointStore
from training.company import ALONE, Company
from training.config import TrainConfig, TrainingError
from training.learner import DivergedError, Epoch, Learner
from training.objectives import objective_of
from training.team import Team, joined


@dataclass(frozen=True)
class FitResult:
    """The best epoch's network (on the CPU, in evaluation mode) and how the run went."""

    network: NormalisedNetwork
    checkpoint: Checkpoint
    device: str
    resumed_after: int


@dataclass(frozen=True)
class _Run:
    """What stays the same over the epochs of a run."""

    train: Batches
    device: torch.device
    store: CheckpointStore
    team: Team
    on_batch: Callable[[int, int, int], None]
    on_note: Callable[[str], None]


def fit(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    company: Company = ALONE,
    start: Checkpoint | None = None,
    device: Device = "auto",
    resume: bool = False,
    checkpoints: str | None = None,
    team: Team | None = None,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> FitResult:
    """Train ``config.model`` on the dataset's training clips, into the folder ``run``.

    The company is trained on besides. ``start`` has the weights to begin with, fresh ones without
    it. ``checkpoints`` is a second place for checkpoints (``training.checkpoint_store``).
    ``on_batch`` hears (epoch, batches done, batches in all), ``on_epoch`` each finished epoch,
    ``on_note`` what a person should know.

    Raises:
        TrainingError: a run is there already, the checkpoint to resume is of other data or
            settings, there is nothing to train or validate on, or the loss is no longer finite.
    """
    team = team or Team()
    place = choose_device(device, team)
    check_settings(dataset, config, place)
    with joined(team, place):
        train = training_batches(dataset, company, config, place)
        state = _Run(train, place, CheckpointStore.at(run, checkpoints), team, on_batch, on_note)
        checkpoint = _begin(state, dataset, company.content_hash(dataset), config, start, resume)
        resumed_after = len(checkpoint.history)
        val = stored_features(dataset, config, "val", place)
        val_as_trained = as_trained(dataset, val, config, place)
        objective = objective_of(config.model)
        learner = Learner.at(checkpoint, train, place, team)
        while not _finished(checkpoint):
            began = time.perf_counter()
            learner, epoch = _train_epoch(learner, checkpoint, state)
            val_loss, val_accuracy = objective.measure(learner.released, val, config, team)
            record = EpochRecord(
                len(checkpoint.history) + 1, epoch.loss, epoch.accuracy, val_loss, val_accuracy,
                time.perf_counter() - began, epoch.learning_rate, epoch.layers,
            )  # fmt: skip
            checkpoint = learner.checkpoint(replace(checkpoint, config=learner.config), record)
            if team.is_first and checkpoint.best is record:
                found = objective.calibrate(learner.released, val_as_trained, config)
                state.store.save(BEST, replace(checkpoint, calibration=found))
            if team.is_first:
                state.store.save(LAST, checkpoint)
            on_epoch(record)
        team.wait(place)
    best = replace(load_checkpoint(run / BEST), history=checkpoint.history)
    return FitResult(rebuild_network(best), best, str(place), resumed_after)


def _train_epoch(learner: Learner, checkpoint: Checkpoint, run: _Run) -> tuple[Learner, Epoch]:
    """An epoch of learning; where the GPU's memory does not hold a batch, in smaller parts."""
    while True:
        try:
            return learner, learner.train_epoch(run.train, checkpoint.history, run.on_batch)
        except DivergedError as error:
            kept = f"{run.store.run} keeps what was learnt before" if checkpoint.history else ""
            raise TrainingError(f"{error}. {kept}".rstrip(". ")) from error
        except torch.OutOfMemoryError as error:
            smaller = _in_smaller_parts(learner.config, run.team, error)
        torch.cuda.empty_cache()
        run.on_note(
            f"out of GPU memory with {_at_once(learner.config)} clips at once: on with "
            f"{_at_once(smaller)}, {smaller.shards} parts a step"
        )
        before = replace(checkpoint, config=smaller)
        del learner
        learner = Learner.at(before, run.train, run.device, run.team)


def _in_smaller_parts(config: TrainConfig, team: Team, error: Exception) -> TrainConfig:
    """Half as many clips on the device at once, and as many a step as before.

    Raises:
        TrainingError: a clip is the least; or other processes wait, who cannot be told.
    """
    if team.size > 1 or 2 * config.shards > config.batch_size or config.optimizer == "lbfgs":
        raise TrainingError(
            f"out of GPU memory with {_at_once(config)} clips at once; give a smaller --batch-size "
            f"than {config.batch_size}, or more --shards"
        ) from error
    return replace(config, shards=2 * config.shards)


def _at_once(config: TrainConfig) -> int:
    """Clips on the device at a time."""
    return -(-config.batch_size // config.shards)


def _begin(
    run: _Run,
    dataset: Dataset,
    data_hash: str,
    config: TrainConfig,
    start: Checkpoint | None,
    resume: bool,
) -> Checkpoint:
    """The checkpoint to go on from, or that before the first epoch."""
    if len(run.train.epoch) < config.shards:
        raise TrainingError(
            f"{len(run.train.epoch)} training clips cannot be cut into {config.shards} shards"
        )
    if resume and run.team.local_rank == 0:
        run.store.fetch()
    run.team.wait(run.device)
    found = begun(run.store.run, config, data_hash) if resume else None
    if found is None:
        run.store.check_new()
        found = (
            first_checkpoint(dataset, run.train, data_hash, config)
            if start is None
            else replace(start, config=config, dataset_hash=data_hash)
        )
    run.team.agree("checkpoint", (len(found.history), config.shards), run.device)
    return found


def _finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience
