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
from torch import Tensor

from data.dataset import Dataset
from models.device import Device
from models.pipeline import NormalisedNetwork
from models.zoo import build
from training.batches import (
    EVALUATION_BATCH,
    Batches,
    Cut,
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
)
from training.checkpoint_store import CheckpointStore
from training.company import ALONE, Company
from training.config import TrainConfig, TrainingError
from training.learner import DivergedError, Epoch, Learner
from training.monitor import warnings_of
from training.objectives import objective_of
from training.team import Team, joined

# Means and deviations of so many clips are as good as those of all.
STATISTICS_CLIPS = 20_000


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


def choose_device(choice: Device, team: Team | None = None) -> torch.device:
    """The device to train on: ``auto`` takes CUDA when there is one, each process its own.

    Raises:
        TrainingError: CUDA asked for and absent.
    """
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise TrainingError(
            "CUDA was asked for and no CUDA device is usable; use --device auto or cpu"
        )
    if not available or choice == "cpu":
        return torch.device("cpu")
    if team is None or team.size == 1:
        return torch.device("cuda")
    if team.local_rank >= torch.cuda.device_count():
        raise TrainingError(
            f"process {team.local_rank} of this machine finds {torch.cuda.device_count()} GPUs; "
            "start one process a GPU (torchrun --nproc-per-node)"
        )
    device = torch.device("cuda", team.local_rank)
    torch.cuda.set_device(device)
    return device


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
    _check(dataset, config, place)
    with joined(team, place):
        train = _training_batches(dataset, company, config, place)
        state = _Run(train, place, CheckpointStore.at(run, checkpoints), team, on_batch, on_note)
        checkpoint = _begin(state, dataset, company.content_hash(dataset), config, start, resume)
        resumed_after = len(checkpoint.history)
        val = stored_features(dataset, config, "val", place)
        val_as_trained = (
            augmented_features(dataset, config, "val", place) if config.augment else val
        )
        objective = objective_of(config.model)
        learner = Learner.at(checkpoint, train, place, team)
        warned: set[str] = set()
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
            _warn(epoch, warned, on_note)
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


def _warn(epoch: Epoch, warned: set[str], on_note: Callable[[str], None]) -> None:
    """Say what is wrong with the layers, of each kind once."""
    for warning in warnings_of(epoch.layers):
        kind = warning.partition(":")[0].lstrip("0123456789 %")
        if kind not in warned:
            warned.add(kind)
            on_note(warning)


def _check(dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
    """See that the settings fit the data and the machine.

    Raises:
        TrainingError: they do not.
    """
    if dataset.multi_label and config.loss != "bce" and objective_of(config.model).has_labels:
        raise TrainingError(
            f"{dataset.folder} has clips with several labels, which {config.loss} cannot learn; "
            "use --loss bce"
        )
    half_on_gpu = config.precision == "bfloat16" and device.type == "cuda"
    if half_on_gpu and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU knows no bfloat16; leave out --precision")


def _training_batches(
    dataset: Dataset, company: Company, config: TrainConfig, device: torch.device
) -> Batches:
    changed = config.augment or config.mixup or config.repeats > 1
    if company == ALONE and not changed:
        return stored_features(dataset, config, "train", device)
    return augmented_waveforms(dataset, company, config, device)


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
    found = _begun(run.store.run, config, data_hash) if resume else None
    if found is None:
        run.store.check_new()
        found = _first(dataset, run, data_hash, config, start)
    run.team.agree("checkpoint", (len(found.history), config.shards), run.device)
    return found


def _begun(run: Path, config: TrainConfig, data_hash: str) -> Checkpoint | None:
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
    dataset: Dataset, run: _Run, data_hash: str, config: TrainConfig, start: Checkpoint | None
) -> Checkpoint:
    """The checkpoint before the first epoch: of a fresh network, or with ``start``'s weights."""
    if start is not None:
        return replace(start, config=config, dataset_hash=data_hash)
    bins = dataset.features.bins(config.features)
    torch.manual_seed(config.seed)
    network = build(
        config.model, bins, dataset.features.frames, len(dataset.labels), config.options
    )
    mean, deviation = feature_statistics(run.train, config.seed)
    weights = NormalisedNetwork(network, mean, deviation).state_dict()
    return Checkpoint(
        config, dataset.features, dataset.labels, data_hash, dict(weights), {}, {}, ()
    )


def feature_statistics(batches: Batches, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bins,) of the training clips, of 20,000 of many."""
    total, squares, count, clips = torch.zeros(()), torch.zeros(()), 0, 0
    for drawn in batches.parts(Cut(EVALUATION_BATCH, seed)):
        part = drawn.features.double()
        total = total.to(part) + part.sum(dim=(0, 2))
        squares = squares.to(part) + part.square().sum(dim=(0, 2))
        count += part.shape[0] * part.shape[2]
        clips += len(part)
        if clips >= STATISTICS_CLIPS:
            break
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean.float().cpu(), deviation.float().cpu()


def _finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience
