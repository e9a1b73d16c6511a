"""A dataset to trained weights: read it from top to bottom.

Every epoch is seeded by (seed, epoch) and leaves a checkpoint, so that a run that was killed goes on
from its last epoch and ends with the weights of a run that was not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.dataset import Dataset
from models.pipeline import NormalisedNetwork
from models.zoo import build
from training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
)
from training.config import DeviceChoice, TrainConfig, TrainingError

EVALUATION_BATCH = 256
_STATISTICS_ROWS = 1024


@dataclass(frozen=True)
class Batches:
    """Features (clips, bins, frames) and targets (clips,) of one split, on the training device."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches of all clips in an order that the seed decides."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order.to(self.targets.device)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield self.features[rows], self.targets[rows]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            yield self.features[part], self.targets[part]


@dataclass(frozen=True)
class FitResult:
    """The best epoch's network (on the CPU, in evaluation mode) and how the run went."""

    network: NormalisedNetwork
    checkpoint: Checkpoint
    device: str
    resumed_after: int


def choose_device(choice: DeviceChoice) -> torch.device:
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
    device: DeviceChoice = "auto",
    resume: bool = False,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Train ``config.model`` on the dataset's training clips, into the folder ``run``.

    ``on_batch`` hears (epoch, batches done, batches in all), ``on_epoch`` each finished epoch.

    Raises:
        TrainingError: a run is there already, the checkpoint to resume is of other data or settings,
            there is nothing to train or validate on, or the loss is no longer finite.
    """
    place = choose_device(device)
    start = _starting_point(dataset, run, config, resume)
    train, val = (_load_split(dataset, config, split, place) for split in ("train", "val"))
    model = rebuild_network(start).to(place)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    if start.optimizer:
        optimizer.load_state_dict(start.optimizer)
    checkpoint = start
    while not _finished(checkpoint):
        epoch = len(checkpoint.history) + 1
        began = time.perf_counter()
        loss, accuracy = _train_epoch(model, optimizer, train, config, epoch, on_batch)
        val_loss, val_accuracy = measure(model, val)
        if not np.isfinite(loss) or not np.isfinite(val_loss):
            raise TrainingError(
                f"the loss of epoch {epoch} is {loss}; lower --learning-rate "
                f"(now {config.learning_rate:g}). {run} keeps the checkpoint of epoch {epoch - 1}"
            )
        record = EpochRecord(
            epoch, loss, accuracy, val_loss, val_accuracy, time.perf_counter() - began
        )
        checkpoint = replace(
            checkpoint,
            weights=_to_cpu(model.state_dict()),
            optimizer=optimizer.state_dict(),
            history=(*checkpoint.history, record),
        )
        if checkpoint.best is record:
            save_checkpoint(run / BEST, checkpoint)
        save_checkpoint(run / LAST, checkpoint)
        on_epoch(record)
    best = replace(load_checkpoint(run / BEST), history=checkpoint.history)
    return FitResult(rebuild_network(best), best, str(place), len(start.history))


def measure(model: NormalisedNetwork, batches: Batches) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, without dropout."""
    model.eval()
    loss, right = 0.0, 0
    with torch.inference_mode():
        for features, targets in batches.in_order():
            logits = model(features)
            loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
            right += int((logits.argmax(1) == targets).sum())
    return loss / len(batches), right / len(batches)


def _train_epoch(
    model: NormalisedNetwork,
    optimizer: torch.optim.Optimizer,
    train: Batches,
    config: TrainConfig,
    epoch: int,
    on_batch: Callable[[int, int, int], None],
) -> tuple[float, float]:
    """One pass over the training clips; its mean loss and accuracy, as they were while learning."""
    seed = config.seed * 1_000_003 + epoch
    torch.manual_seed(seed)  # dropout
    model.train()
    device = train.targets.device
    loss_sum, right = torch.zeros((), device=device), torch.zeros((), device=device)
    n_batches = -(-len(train) // config.batch_size)
    for done, (features, targets) in enumerate(train.shuffled(config.batch_size, seed), 1):
        optimizer.zero_grad(set_to_none=True)
        logits = model(features)
        loss = functional.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.detach() * len(targets)
        right += (logits.detach().argmax(1) == targets).sum()
        on_batch(epoch, done, n_batches)
    return float(loss_sum) / len(train), float(right) / len(train)


def _starting_point(dataset: Dataset, run: Path, config: TrainConfig, resume: bool) -> Checkpoint:
    """The checkpoint to go on from, or that of a fresh network."""
    last = run / LAST
    if resume and last.is_file():
        found = load_checkpoint(last)
        changed = config.differences(found.config)
        if found.dataset_hash != dataset.content_hash:
            changed.append("the dataset's content")
        if changed:
            raise TrainingError(
                f"{run} was trained with other settings ({'; '.join(changed)}); "
                "resume with the same ones, or give another --out"
            )
        return replace(found, config=config)
    if last.exists():
        raise TrainingError(f"{run} holds a run; go on with --resume, or give another --out")
    bins = dataset.features.bins(config.features)
    torch.manual_seed(config.seed)
    network = build(
        config.model, bins, dataset.features.frames, len(dataset.labels), config.options
    )
    mean, deviation = feature_statistics(dataset, config)
    weights = NormalisedNetwork(network, mean, deviation).state_dict()
    return Checkpoint(
        config, dataset.features, dataset.labels, dataset.content_hash, dict(weights), {}, ()
    )


def feature_statistics(dataset: Dataset, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bins,) of each feature bin over the training clips and frames."""
    features, rows = dataset.array(config.features), dataset.rows("train")
    total, squares, count = np.zeros(features.shape[1]), np.zeros(features.shape[1]), 0
    for start in range(0, len(rows), _STATISTICS_ROWS):
        part = features[rows[start : start + _STATISTICS_ROWS]].astype(np.float64)
        total += part.sum(axis=(0, 2))
        squares += np.square(part).sum(axis=(0, 2))
        count += part.shape[0] * part.shape[2]
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


def _load_split(dataset: Dataset, config: TrainConfig, split: str, device: torch.device) -> Batches:
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its {split} part")
    features = torch.from_numpy(np.ascontiguousarray(dataset.array(config.features)[rows]))
    return Batches(features.to(device), torch.from_numpy(dataset.targets[rows]).to(device))


def _finished(checkpoint: Checkpoint) -> bool:
    history, config = checkpoint.history, checkpoint.config
    if not history:
        return False
    return len(history) >= config.epochs or len(history) - checkpoint.best.epoch >= config.patience


def _to_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
