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
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.loader import (
    EVALUATION_BATCH,
    BatchLoader,
    StoredFeatures,
    stored_features,
)
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
)
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.distributed import DistributedContext, process_group
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import (
    augmented_validation,
    find_resume_checkpoint,
    check_settings,
    choose_device,
    initial_checkpoint,
    training_loader,
)
from earful.training.trainer.train_step import DivergedError, EpochResult, TrainStep, divergence_error


@dataclass(frozen=True)
class FitResult:
    """The best epoch's network (on the CPU, in evaluation mode) and how the run went."""

    network: NormalisedNetwork
    checkpoint: Checkpoint
    device: str
    resumed_after: int


@dataclass(frozen=True)
class _RunContext:
    """What stays the same over the epochs of a run."""

    train: BatchLoader
    device: torch.device
    store: CheckpointStore
    dist_context: DistributedContext
    on_batch: Callable[[int, int, int], None]
    on_note: Callable[[str], None]


@dataclass(frozen=True)
class _ValidationData:
    """The validation clips, as they are and as the recipe of training changes them."""

    val: StoredFeatures
    augmented: StoredFeatures


def fit(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    start: Checkpoint | None = None,
    device: Device = "auto",
    resume: bool = False,
    checkpoint_mirror: str | None = None,
    dist_context: DistributedContext | None = None,
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
    dist_context = dist_context or DistributedContext()
    torch_device = choose_device(device, dist_context)
    check_settings(dataset, config, torch_device)
    with process_group(dist_context, torch_device):
        train = training_loader(dataset, auxiliary, config, torch_device)
        state = _RunContext(train, torch_device, CheckpointStore.open(run, checkpoint_mirror), dist_context, on_batch, on_note)
        checkpoint = _resume_or_start(state, dataset, auxiliary.content_hash(dataset), config, start, resume)
        resumed_after = len(checkpoint.history)
        val = stored_features(dataset, config, "val", torch_device)
        validation = _ValidationData(val, augmented_validation(dataset, val, config, torch_device))
        train_step = TrainStep.from_checkpoint(checkpoint, train, torch_device, dist_context)
        while not _is_finished(checkpoint):
            started_at = time.perf_counter()
            epoch = _train_epoch(train_step, checkpoint, state)
            if epoch is None:
                checkpoint = replace(checkpoint, config=_with_more_shards(checkpoint.config, state))
                del train_step  # its memory is needed for the next one
                torch.cuda.empty_cache()
                train_step = TrainStep.from_checkpoint(checkpoint, train, torch_device, dist_context)
                continue
            checkpoint = _validate_and_save(train_step, checkpoint, epoch, validation, state, started_at)
            on_epoch(checkpoint.history[-1])
        dist_context.barrier(torch_device)
    if dist_context.is_main_process:
        checkpoint = replace(load_checkpoint(run / BEST_CHECKPOINT), history=checkpoint.history)
    return FitResult(rebuild_network(checkpoint), checkpoint, str(torch_device), resumed_after)


def _train_epoch(train_step: TrainStep, checkpoint: Checkpoint, run: _RunContext) -> EpochResult | None:
    """An epoch of learning; None where the GPU's memory does not hold a batch.

    Raises:
        TrainingError: training diverges.
    """
    try:
        return train_step.train_epoch(run.train, checkpoint.history, run.on_batch)
    except DivergedError as error:
        raise _with_kept_epochs(error, checkpoint, run) from error
    except torch.OutOfMemoryError:
        return None


def _validate_and_save(
    train_step: TrainStep,
    checkpoint: Checkpoint,
    epoch: EpochResult,
    validation: _ValidationData,
    run: _RunContext,
    started_at: float,
) -> Checkpoint:
    """Validate what an epoch learnt, and keep it where all is well.

    Raises:
        TrainingError: training diverges; nothing of the epoch is kept.
    """
    config, objective = train_step.config, objective_for(train_step.config.model)
    try:
        val_loss, val_accuracy = _validate(train_step, validation, run.dist_context)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory with {EVALUATION_BATCH} validation clips at once; take a smaller "
            "network, or --device cpu"
        ) from error
    if not math.isfinite(val_loss):
        raise _with_kept_epochs(divergence_error("validation loss", val_loss, config), checkpoint, run)
    record = EpochRecord(
        len(checkpoint.history) + 1, epoch.loss, epoch.accuracy, val_loss, val_accuracy,
        time.perf_counter() - started_at, epoch.learning_rate, epoch.layers,
    )  # fmt: skip
    checkpoint = train_step.checkpoint(checkpoint, record)
    if run.dist_context.is_main_process and checkpoint.best is record:
        calibration = objective.calibrate(train_step.ema_network, validation.augmented, config)
        run.store.save(BEST_CHECKPOINT, replace(checkpoint, calibration=calibration))
    if run.dist_context.is_main_process:
        run.store.save(LAST_CHECKPOINT, checkpoint)
    return checkpoint


def _validate(train_step: TrainStep, validation: _ValidationData, dist_context: DistributedContext) -> tuple[float, float | None]:
    """The loss in the conditions of training, and the accuracy on the clips as they are.

    A network that is trained on noise knows the clean clips of known voices after a few epochs, and
    is ever surer of them; by the loss on these, what it learns afterwards would be thrown away.
    """
    config, objective = train_step.config, objective_for(train_step.config.model)
    loss, accuracy = objective.measure(train_step.ema_network, validation.augmented, config, dist_context)
    if validation.val is not validation.augmented:
        _, accuracy = objective.measure(train_step.ema_network, validation.val, config, dist_context)
    return loss, accuracy


def _with_kept_epochs(error: TrainingError, checkpoint: Checkpoint, run: _RunContext) -> TrainingError:
    """Say that what was learnt before is still there, if anything was."""
    if not checkpoint.history:
        return TrainingError(f"{error}. No epoch had ended before, so nothing is kept")
    return TrainingError(
        f"{error}. {run.store.run} keeps what was learnt in {len(checkpoint.history)} epochs before"
    )


def _with_more_shards(config: TrainConfig, run: _RunContext) -> TrainConfig:
    """Half as many clips on the device at once, and as many a step as before; this is told.

    Raises:
        TrainingError: a clip is the least; or other processes wait, who cannot be told.
    """
    here = f"out of GPU memory with {_clips_per_shard(config)} clips at once"
    if run.dist_context.world_size > 1 or 2 * config.shards > config.batch_size or config.optimizer == "lbfgs":
        raise TrainingError(
            f"{here}; give a smaller --batch-size than {config.batch_size}, or more --shards"
        )
    smaller = replace(config, shards=2 * config.shards)
    run.on_note(f"{here}: on with {_clips_per_shard(smaller)}, {smaller.shards} parts a step")
    return smaller


def _clips_per_shard(config: TrainConfig) -> int:
    """Clips on the device at a time."""
    return -(-config.batch_size // config.shards)


def _resume_or_start(
    run: _RunContext,
    dataset: Dataset,
    data_hash: str,
    config: TrainConfig,
    start: Checkpoint | None,
    resume: bool,
) -> Checkpoint:
    """The checkpoint to go on from, or that before the first epoch."""
    if len(run.train.sampler) < config.shards:
        raise TrainingError(
            f"{len(run.train.sampler)} training clips cannot be cut into {config.shards} shards"
        )
    if resume and run.dist_context.is_main_process:
        run.store.sync(data_hash)
    run.dist_context.barrier(run.device)
    if resume and run.dist_context.local_rank == 0 and not run.dist_context.is_main_process:
        run.store.sync(data_hash)
    run.dist_context.barrier(run.device)
    checkpoint = find_resume_checkpoint(run.store.run, config, data_hash) if resume else None
    if checkpoint is None:
        run.store.require_no_run()
        checkpoint = (
            initial_checkpoint(dataset, run.train, data_hash, config)
            if start is None
            else replace(start, config=config, dataset_hash=data_hash)
        )
    run.dist_context.require_equal("checkpoint", (len(checkpoint.history), config.shards), run.device)
    return checkpoint


def _is_finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience
