"""From a dataset to trained weights: the training loop.

Every epoch is seeded by (seed, epoch) and writes a checkpoint, so that a killed run resumes after
its last epoch and ends with the same weights as an uninterrupted one. Several processes
(``training.trainer.distributed``) give the same result; process 0 writes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import TrainingDevice
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
from earful.training.trainer.devices import choose_device
from earful.training.trainer.distributed import DistributedContext, process_group
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import (
    augmented_validation,
    check_settings,
    find_resume_checkpoint,
    initial_checkpoint,
    training_loader,
)
from earful.training.trainer.train_step import (
    DivergedError,
    EpochResult,
    TrainStep,
    divergence_error,
)


@dataclass(frozen=True)
class HeldOutLogits:
    """Logits (rows, labels) of clips, by networks that were not fitted to them.

    ``rows`` (rows,) are positions in the dataset.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class FitResult:
    """The best epoch's network (on the CPU, in evaluation mode) and its checkpoint.

    ``resumed_after`` is the number of epochs before this call, 0 for a new run. ``held_out`` is
    there where the network was fitted to the validation clips too: it is measured on these instead.
    """

    network: NormalisedNetwork
    checkpoint: Checkpoint
    device: str
    resumed_after: int
    held_out: HeldOutLogits | None = None


@dataclass(frozen=True)
class _RunContext:
    """What all epochs of a run share."""

    train: BatchLoader
    device: torch.device
    store: CheckpointStore
    dist_context: DistributedContext
    on_batch: Callable[[int, int, int], None]
    on_note: Callable[[str], None]


@dataclass(frozen=True)
class _ValidationData:
    """The validation clips, clean and augmented; the same object without augmentation."""

    val: StoredFeatures
    augmented: StoredFeatures


def fit(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    start: Checkpoint | None = None,
    device: TrainingDevice = "auto",
    resume: bool = False,
    checkpoint_mirror: str | None = None,
    dist_context: DistributedContext | None = None,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> FitResult:
    """Train ``config.model`` on the dataset's training clips, into the folder ``run``.

    ``auxiliary`` is trained on too. ``start`` has the initial weights (default: random).
    ``checkpoint_mirror`` is a second folder or URL for checkpoints
    (``training.trainer.checkpoint_mirror``). ``on_batch`` is called with (epoch, batches done,
    batches in the epoch), ``on_epoch`` after each epoch, ``on_note`` with messages for the user.

    Raises:
        TrainingError: ``run`` holds a run and ``resume`` is false, the run to resume has other data
            or settings, there is nothing to train or validate on, or training diverges.
    """
    dist_context = dist_context or DistributedContext()
    torch_device = choose_device(device, dist_context)
    check_settings(dataset, config, torch_device)
    with process_group(dist_context, torch_device):
        train = training_loader(dataset, auxiliary, config, torch_device)
        context = _RunContext(
            train=train,
            device=torch_device,
            store=CheckpointStore.open(run, checkpoint_mirror),
            dist_context=dist_context,
            on_batch=on_batch,
            on_note=on_note,
        )
        data_hash = auxiliary.content_hash(dataset)
        checkpoint = _resume_or_start(context, dataset, data_hash, config, start, resume)
        resumed_after = len(checkpoint.history)
        val = stored_features(dataset, config, "val", torch_device)
        validation = _ValidationData(val, augmented_validation(dataset, val, config, torch_device))
        train_step = TrainStep.from_checkpoint(checkpoint, train, torch_device, dist_context)
        while not _is_finished(checkpoint):
            started_at = time.perf_counter()
            epoch = _train_epoch(train_step, checkpoint, context)
            if epoch is None:
                more_shards = _with_more_shards(checkpoint.config, context)
                checkpoint = replace(checkpoint, config=more_shards)
                del train_step  # its memory is needed for the next one
                torch.cuda.empty_cache()
                train_step = TrainStep.from_checkpoint(
                    checkpoint, train, torch_device, dist_context
                )
                continue
            checkpoint = _validate_and_save(
                train_step, checkpoint, epoch, validation, context, started_at
            )
            on_epoch(checkpoint.history[-1])
        dist_context.barrier(torch_device)
    if dist_context.is_main_process:
        checkpoint = replace(load_checkpoint(run / BEST_CHECKPOINT), history=checkpoint.history)
    return FitResult(rebuild_network(checkpoint), checkpoint, str(torch_device), resumed_after)


def _train_epoch(
    train_step: TrainStep, checkpoint: Checkpoint, run: _RunContext
) -> EpochResult | None:
    """Train an epoch; None when the GPU runs out of memory.

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
    """Validate the network after an epoch and write the checkpoints.

    Raises:
        TrainingError: training diverges; the epoch is not saved.
    """
    config, objective = train_step.config, objective_for(train_step.config.model)
    try:
        val_loss, val_accuracy = _validate(train_step, validation, run.dist_context)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory with {EVALUATION_BATCH} validation clips at once; use a smaller "
            "network, or --device cpu"
        ) from error
    if not math.isfinite(val_loss):
        raise _with_kept_epochs(
            divergence_error("validation loss", val_loss, config), checkpoint, run
        )
    record = EpochRecord(
        epoch=len(checkpoint.history) + 1,
        loss=epoch.loss,
        accuracy=epoch.accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        seconds=time.perf_counter() - started_at,
        learning_rate=epoch.learning_rate,
        layers=epoch.layers,
    )
    checkpoint = train_step.checkpoint(checkpoint, record)
    if run.dist_context.is_main_process and checkpoint.best is record:
        calibration = objective.calibrate(train_step.ema_network, validation.augmented, config)
        run.store.save(BEST_CHECKPOINT, replace(checkpoint, calibration=calibration))
    if run.dist_context.is_main_process:
        run.store.save(LAST_CHECKPOINT, checkpoint)
    return checkpoint


def _validate(
    train_step: TrainStep, validation: _ValidationData, dist_context: DistributedContext
) -> tuple[float, float | None]:
    """The loss on augmented validation clips, and the accuracy on clean ones.

    A network that is trained on augmented clips fits clean clips of the training speakers after a
    few epochs and becomes overconfident on them; selected by the loss on clean clips, the best
    epoch would be too early.
    """
    config, objective = train_step.config, objective_for(train_step.config.model)
    loss, accuracy = objective.measure(
        train_step.ema_network, validation.augmented, config, dist_context
    )
    if validation.val is not validation.augmented:
        _, accuracy = objective.measure(
            train_step.ema_network, validation.val, config, dist_context
        )
    return loss, accuracy


def _with_kept_epochs(
    error: TrainingError, checkpoint: Checkpoint, run: _RunContext
) -> TrainingError:
    """The error, with a sentence on which checkpoint is kept."""
    if not checkpoint.history:
        return TrainingError(f"{error}. No epoch was finished, so no checkpoint is kept")
    return TrainingError(
        f"{error}. {run.store.run} keeps the checkpoint after epoch {len(checkpoint.history)}"
    )


def _with_more_shards(config: TrainConfig, run: _RunContext) -> TrainConfig:
    """Double the shards: half as many clips on the device at once, the same batch size.

    Raises:
        TrainingError: a shard has one clip already, the optimizer is L-BFGS, or other processes
            take part.
    """
    out_of_memory = f"out of GPU memory with {_clips_per_shard(config)} clips at once"
    is_distributed = run.dist_context.world_size > 1
    is_smallest = 2 * config.shards > config.batch_size
    if is_distributed or is_smallest or config.optimizer == "lbfgs":
        raise TrainingError(
            f"{out_of_memory}; give a smaller --batch-size than {config.batch_size}, or more "
            "--shards"
        )
    doubled = replace(config, shards=2 * config.shards)
    run.on_note(
        f"{out_of_memory}: continuing with {_clips_per_shard(doubled)}, in {doubled.shards} shards "
        "a batch"
    )
    return doubled


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
    """The checkpoint to resume from, or the one before the first epoch."""
    if len(run.train.sampler) < config.shards:
        raise TrainingError(
            f"{len(run.train.sampler)} training clips cannot be split into {config.shards} shards; "
            "give fewer --shards"
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
    run.dist_context.require_equal(
        "checkpoint", (len(checkpoint.history), config.shards), run.device
    )
    return checkpoint


def _is_finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience
