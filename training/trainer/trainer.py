"""A dataset to trained weights: read it from top to bottom.

Every epoch is seeded by (seed, epoch) and leaves a checkpoint, so that a run that was killed goes
on from its last epoch and ends with the weights of a run that was not. Several processes
(``training.trainer.distributed``) do the same work together; the first of them writes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.layers.normalise import NormalisedNetwork
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import ALONE, Company
from earful.training.loaders.loader import (
    EVALUATION_BATCH,
    Batches,
    StoredFeatures,
    stored_features,
)
from earful.training.trainer.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
)
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.distributed import Team, joined
from earful.training.trainer.objectives import objective_of
from earful.training.trainer.setup import (
    as_trained,
    begun,
    check_settings,
    choose_device,
    first_checkpoint,
    training_batches,
)
from earful.training.trainer.train_step import DivergedError, Epoch, Learner, diverged


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


@dataclass(frozen=True)
class _Measured:
    """The validation clips, as they are and as the recipe of training changes them."""

    val: StoredFeatures
    as_trained: StoredFeatures


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
    it. ``checkpoints`` is a second place for checkpoints (``training.trainer.checkpoint_mirror``).
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
        measured = _Measured(val, as_trained(dataset, val, config, place))
        learner = Learner.at(checkpoint, train, place, team)
        while not _finished(checkpoint):
            began = time.perf_counter()
            epoch = _train_epoch(learner, checkpoint, state)
            if epoch is None:
                checkpoint = replace(checkpoint, config=_in_smaller_parts(checkpoint.config, state))
                del learner  # its memory is needed for the next one
                torch.cuda.empty_cache()
                learner = Learner.at(checkpoint, train, place, team)
                continue
            checkpoint = _measure_and_keep(learner, checkpoint, epoch, measured, state, began)
            on_epoch(checkpoint.history[-1])
        team.wait(place)
    if team.is_first:
        checkpoint = replace(load_checkpoint(run / BEST), history=checkpoint.history)
    return FitResult(rebuild_network(checkpoint), checkpoint, str(place), resumed_after)


def _train_epoch(learner: Learner, checkpoint: Checkpoint, run: _Run) -> Epoch | None:
    """An epoch of learning; None where the GPU's memory does not hold a batch.

    Raises:
        TrainingError: training diverges.
    """
    try:
        return learner.train_epoch(run.train, checkpoint.history, run.on_batch)
    except DivergedError as error:
        raise _kept(error, checkpoint, run) from error
    except torch.OutOfMemoryError:
        return None


def _measure_and_keep(
    learner: Learner,
    checkpoint: Checkpoint,
    epoch: Epoch,
    measured: _Measured,
    run: _Run,
    began: float,
) -> Checkpoint:
    """Validate what an epoch learnt, and keep it where all is well.

    Raises:
        TrainingError: training diverges; nothing of the epoch is kept.
    """
    config, objective = learner.config, objective_of(learner.config.model)
    try:
        val_loss, val_accuracy = _validated(learner, measured, run.team)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory with {EVALUATION_BATCH} validation clips at once; take a smaller "
            "network, or --device cpu"
        ) from error
    if not math.isfinite(val_loss):
        raise _kept(diverged("validation loss", val_loss, config), checkpoint, run)
    record = EpochRecord(
        len(checkpoint.history) + 1, epoch.loss, epoch.accuracy, val_loss, val_accuracy,
        time.perf_counter() - began, epoch.learning_rate, epoch.layers,
    )  # fmt: skip
    checkpoint = learner.checkpoint(checkpoint, record)
    if run.team.is_first and checkpoint.best is record:
        found = objective.calibrate(learner.released, measured.as_trained, config)
        run.store.save(BEST, replace(checkpoint, calibration=found))
    if run.team.is_first:
        run.store.save(LAST, checkpoint)
    return checkpoint


def _validated(learner: Learner, measured: _Measured, team: Team) -> tuple[float, float | None]:
    """The loss in the conditions of training, and the accuracy on the clips as they are.

    A network that is trained on noise knows the clean clips of known voices after a few epochs, and
    is ever surer of them; by the loss on these, what it learns afterwards would be thrown away.
    """
    config, objective = learner.config, objective_of(learner.config.model)
    loss, accuracy = objective.measure(learner.released, measured.as_trained, config, team)
    if measured.val is not measured.as_trained:
        _, accuracy = objective.measure(learner.released, measured.val, config, team)
    return loss, accuracy


def _kept(error: TrainingError, checkpoint: Checkpoint, run: _Run) -> TrainingError:
    """Say that what was learnt before is still there, if anything was."""
    if not checkpoint.history:
        return TrainingError(f"{error}. No epoch had ended before, so nothing is kept")
    return TrainingError(
        f"{error}. {run.store.run} keeps what was learnt in {len(checkpoint.history)} epochs before"
    )


def _in_smaller_parts(config: TrainConfig, run: _Run) -> TrainConfig:
    """Half as many clips on the device at once, and as many a step as before; this is told.

    Raises:
        TrainingError: a clip is the least; or other processes wait, who cannot be told.
    """
    here = f"out of GPU memory with {_at_once(config)} clips at once"
    if run.team.size > 1 or 2 * config.shards > config.batch_size or config.optimizer == "lbfgs":
        raise TrainingError(
            f"{here}; give a smaller --batch-size than {config.batch_size}, or more --shards"
        )
    smaller = replace(config, shards=2 * config.shards)
    run.on_note(f"{here}: on with {_at_once(smaller)}, {smaller.shards} parts a step")
    return smaller


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
    if resume and run.team.is_first:
        run.store.level(data_hash)
    run.team.wait(run.device)
    if resume and run.team.local_rank == 0 and not run.team.is_first:
        run.store.level(data_hash)
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
