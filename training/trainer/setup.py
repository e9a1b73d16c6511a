"""What a run begins with: its device, its clips, and the checkpoint before its first epoch."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import Company
from earful.training.loaders.loader import (
    EVALUATION_BATCH,
    Batches,
    StoredFeatures,
    augmented_features,
    augmented_waveforms,
    stored_features,
)
from earful.training.loaders.sampler import Cut
from earful.training.trainer.checkpoint import LAST, SCHEMA_VERSION, Checkpoint, load_checkpoint
from earful.training.trainer.distributed import Team
from earful.training.trainer.objectives import objective_of

# Means and deviations of so many clips are as good as those of all.
STATISTICS_CLIPS = 20_000


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


def check_settings(dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
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


def training_batches(
    dataset: Dataset, company: Company, config: TrainConfig, device: torch.device
) -> Batches:
    """What an epoch reads: stored features, or waveforms where something is to change about them.

    Raises:
        TrainingError: there is no clip to train on, or the company does not fit the dataset.
    """
    if config.augment or config.mixup or (company.others and config.noise_only):
        return augmented_waveforms(dataset, company, config, device)
    return stored_features(dataset, config, "train", device, company)


def as_trained(
    dataset: Dataset, val: StoredFeatures, config: TrainConfig, device: torch.device
) -> StoredFeatures:
    """The validation clips in the conditions of training: what epochs and scores are judged by.

    A network that was trained on noise answers the clean clips of known voices almost perfectly;
    calibrated on these it would be far too sure of itself everywhere else.
    """
    return augmented_features(dataset, config, "val", device) if config.augment else val


def begun(run: Path, config: TrainConfig, data_hash: str) -> Checkpoint | None:
    """The checkpoint to go on from, if the run has begun."""
    last = run / LAST
    if not last.is_file():
        return None
    found = load_checkpoint(last)
    if found.config.shards > config.shards and found.config.shards % config.shards == 0:
        # Cut further where the memory did not hold a batch: the same steps in smaller parts.
        config = replace(config, shards=found.config.shards)
    changed = config.differences(found.config)
    if found.dataset_hash != data_hash:
        changed.append("the dataset's content")
    if found.schema_version != SCHEMA_VERSION and config.augment:
        changed.append("its epochs were judged on clean clips, by an earlier version")
    if changed:
        raise TrainingError(
            f"{run} was trained with other settings ({'; '.join(changed)}); "
            "resume with the same ones, or give another --out"
        )
    return replace(found, config=config)


def first_checkpoint(
    dataset: Dataset, train: Batches, data_hash: str, config: TrainConfig
) -> Checkpoint:
    """The checkpoint before the first epoch, of a fresh network."""
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
