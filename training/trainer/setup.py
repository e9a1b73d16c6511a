"""Setup of a run: its device, its loaders, and the checkpoint to start or resume from."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import feature_shape
from earful.data.features.kinds import PREPARED_KINDS
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.loaders.loader import (
    EVALUATION_BATCH,
    AugmentedWaveforms,
    BatchLoader,
    StoredFeatures,
    augmented_features,
    augmented_waveforms,
    stored_features,
)
from earful.training.loaders.sampler import BatchPlan
from earful.training.trainer.checkpoint import (
    LAST_CHECKPOINT,
    Checkpoint,
    load_checkpoint,
)
from earful.training.trainer.devices import check_device_settings, in_float64
from earful.training.trainer.objectives import objective_for

# More clips do not change mean and standard deviation noticeably.
MAX_STATISTICS_CLIPS = 20_000


def check_settings(dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
    """Check that the settings fit the data and the device.

    Raises:
        TrainingError: they do not.
    """
    if dataset.is_multi_label and config.loss != "bce" and objective_for(config.model).has_labels:
        raise TrainingError(
            f"{dataset.folder} has clips with several labels, which {config.loss} cannot learn; "
            "use --loss bce"
        )
    check_device_settings(config, device)


def training_loader(
    dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig, device: torch.device
) -> BatchLoader:
    """The loader of training clips: stored features, or waveforms where the config augments them.

    Raises:
        TrainingError: there is no training clip, or the auxiliary data does not fit the dataset.
    """
    if config.augment or config.mixup or (auxiliary.negatives and config.noise_only):
        return augmented_waveforms(dataset, auxiliary, config, device)
    return stored_features(dataset, config, "train", device, auxiliary)


def augmented_validation(
    dataset: Dataset, val: StoredFeatures, config: TrainConfig, device: torch.device
) -> StoredFeatures:
    """The validation clips, augmented where training augments: for validation loss and calibration.

    A network that was trained on augmented clips is almost perfect on clean clips of the training
    speakers; calibrated on these, it would be overconfident elsewhere.
    """
    return augmented_features(dataset, config, "val", device) if config.augment else val


def find_resume_checkpoint(run: Path, config: TrainConfig, data_hash: str) -> Checkpoint | None:
    """The last checkpoint of a run with ``config``; None where the run has none.

    Raises:
        TrainingError: it is damaged, or was trained with other settings or data.
    """
    last = run / LAST_CHECKPOINT
    if not last.is_file():
        return None
    checkpoint = load_checkpoint(last)
    if checkpoint.config.shards > config.shards and checkpoint.config.shards % config.shards == 0:
        # The run doubled its shards when it ran out of memory; the steps are the same.
        config = replace(config, shards=checkpoint.config.shards)
    changed = config.differences(checkpoint.config)
    if checkpoint.dataset_hash != data_hash:
        changed.append(_changed_data(checkpoint.dataset_hash, data_hash))
    if changed:
        raise TrainingError(
            f"{run} was trained with other settings ({'; '.join(changed)}); "
            "resume with the same ones, or give another --out"
        )
    return replace(checkpoint, config=config)


def _changed_data(old_hash: str, new_hash: str) -> str:
    """What differs between two hashes of ``AuxiliaryData.content_hash``."""
    old, _, old_teacher = old_hash.partition("+teacher:")
    new, _, new_teacher = new_hash.partition("+teacher:")
    if old != new:
        return "the dataset's content"
    if not new_teacher:
        return "it had a --teacher"
    return "another --teacher" if old_teacher else "it had no --teacher"


def initial_checkpoint(
    dataset: Dataset, train: BatchLoader, data_hash: str, config: TrainConfig
) -> Checkpoint:
    """The checkpoint before the first epoch: a new network with random weights."""
    bins, frames = feature_shape(dataset.features, config.features)
    torch.manual_seed(config.seed)
    network = build_network(config.model, bins, frames, len(dataset.labels), config.options)
    mean, std = feature_statistics(train, config)
    weights = NormalisedNetwork(network, mean, std).state_dict()
    return Checkpoint(
        config, dataset.features, dataset.labels, data_hash, dict(weights), {}, {}, ()
    )


def feature_statistics(batches: BatchLoader, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bins,) of the features of at most 20,000 training clips.

    0 and 1 for the input of an encoder, whose weights were trained on one scale.
    """
    if config.features not in PREPARED_KINDS:
        return torch.zeros(1), torch.ones(1)
    if isinstance(batches, AugmentedWaveforms):
        batches = replace(batches, teacher=None)  # which takes most of the time, and gives targets
    total, squares, count, clips = torch.zeros(()), torch.zeros(()), 0, 0
    for batch in batches.batch_shards(BatchPlan(EVALUATION_BATCH, config.seed)):
        features = in_float64(batch.features)
        total = total.to(features) + features.sum(dim=(0, 2))
        squares = squares.to(features) + features.square().sum(dim=(0, 2))
        count += features.shape[0] * features.shape[2]
        clips += len(features)
        if clips >= MAX_STATISTICS_CLIPS:
            break
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean.float().cpu(), std.float().cpu()
