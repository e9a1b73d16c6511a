"""A dataset to a fitted baseline: the same files in the run folder as training leaves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.layers.base import Network
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.baselines.gmm_hmm import check_gmm_hmm, fit_gmm_hmm
from earful.training.baselines.logistic import fit_logistic
from earful.training.baselines.majority import fit_majority
from earful.training.baselines.pooled_clips import CPU, label_indices
from earful.training.baselines.random_forest import fit_random_forest
from earful.training.baselines.svm import check_svm, fit_svm
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.class_weights import label_counts
from earful.training.loaders.loader import StoredFeatures, stored_features, build_targets_and_sampler
from earful.training.metrics.calibration import calibrate
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
)
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.setup import find_resume_checkpoint, choose_device, feature_statistics
from earful.training.trainer.trainer import FitResult

# What a baseline heeds of a TrainConfig; the rest is about steps.
USED_FIELDS = ("model", "features", "seed", "options")

_FITTERS: Mapping[str, Callable[[Any, NormalisedNetwork, StoredFeatures, TrainConfig], None]] = {
    "majority": fit_majority,
    "logistic": fit_logistic,
    "random-forest": fit_random_forest,
    "svm": fit_svm,
    "gmm-hmm": fit_gmm_hmm,
}
# What only some of them refuse.
_CHECKS: Mapping[str, Callable[[Dataset, NDArray[np.int64], TrainConfig], None]] = {
    "svm": check_svm,
    "gmm-hmm": check_gmm_hmm,
}


def fit_baseline(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    device: Device = "auto",
    resume: bool = False,
    checkpoint_mirror: str | None = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Fit ``config.model`` to the dataset's training clips, into the folder ``run``.

    It is fitted on the CPU, and one epoch long: ``on_epoch`` hears once. A run that is finished and
    resumed is left as it is. ``checkpoints`` is a second place (``training.trainer.checkpoint_mirror``).

    Raises:
        TrainingError: a run is there already, the one to resume is of other data or settings, or
            CUDA was asked for and is absent.
        EarfulError: what ``check_baseline`` refuses.
    """
    check_baseline(dataset, auxiliary, config)
    choose_device(device)
    data_hash = auxiliary.content_hash(dataset)
    store = CheckpointStore.open(run, checkpoint_mirror)
    if resume:
        store.sync(data_hash)
    if resume and find_resume_checkpoint(run, config, data_hash) is not None:
        checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
        return FitResult(rebuild_network(checkpoint), checkpoint, "cpu", 1)
    store.require_no_run()
    train = stored_features(dataset, config, "train", CPU, auxiliary)
    val = stored_features(dataset, config, "val", CPU)
    began = time.perf_counter()
    model = _fit_network(dataset, train, config)
    seconds = time.perf_counter() - began
    logits, targets = _logits(model, val), label_indices(val)
    loss, accuracy = _loss_and_accuracy(_logits(model, train), label_indices(train))
    record = EpochRecord(1, loss, accuracy, *_loss_and_accuracy(logits, targets), seconds, 0.0)
    calibration = calibrate(logits, np.eye(len(dataset.labels), dtype=np.bool_)[targets], "softmax")
    checkpoint = Checkpoint(
        config, dataset.features, dataset.labels, data_hash, dict(model.state_dict()), {}, {},
        (record,), calibration,
    )  # fmt: skip
    store.save(BEST_CHECKPOINT, checkpoint)
    store.save(LAST_CHECKPOINT, replace(checkpoint, calibration=None))
    on_epoch(record)
    return FitResult(model, checkpoint, "cpu", 0)


def check_baseline(dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig) -> None:
    """See that ``config.model`` can be fitted, before anything is read or written.

    Raises:
        TrainingError: a setting is about steps, the company does not fit or has clips of no label,
            there is nothing to validate on or no training clip of some label, or the model is not
            for so many clips, or such features.
        DatasetError: clips with several labels.
        EarfulError: an option that the model does not have, or features too small for it.
    """
    require_used_fields(config)
    _build_network(dataset, config)
    requirement = f"{config.model}, unlike the networks that are trained by steps,"
    dataset.require_single_label(requirement)
    if auxiliary.extra is not None:
        auxiliary.extra.require_single_label(requirement)
    if auxiliary.negatives is not None:
        raise TrainingError(
            f"{auxiliary.negatives.folder} has clips of no label, which only networks that are trained "
            "by steps learn from; leave --negatives away, or take another --model"
        )
    counts = _label_counts(dataset, auxiliary, config)
    if config.model in _CHECKS:
        _CHECKS[config.model](dataset, counts, config)


def require_used_fields(config: TrainConfig) -> None:
    """Refuse settings that only training by steps can follow.

    Raises:
        TrainingError: some differ from the defaults; the message names them.
    """
    changed = config.to_dict()
    defaults = default_config(config.model).to_dict()
    unused = [name for name in changed if name not in USED_FIELDS and changed[name] != defaults[name]]
    if unused:
        raise TrainingError(
            f"{config.model} is fitted and not trained by steps: it has no {', '.join(unused)}; "
            f"it heeds {', '.join(USED_FIELDS)}"
        )


def _label_counts(dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig) -> NDArray[np.int64]:
    """How many training clips each label has (labels,)."""
    build_targets_and_sampler(dataset, NO_AUXILIARY_DATA, config, "val", CPU)  # there is something to validate on
    targets, _ = build_targets_and_sampler(dataset, auxiliary, config, "train", CPU)
    counts = label_counts(targets.values, targets.n_labels).long().numpy()
    missing = [dataset.labels[i] for i in np.flatnonzero(counts == 0)]
    if missing:
        raise TrainingError(
            f"the train part of {dataset.folder} has no clip of {', '.join(missing)}; a baseline "
            "is fitted to clips of every label: prepare with another --split, or more clips"
        )
    return counts


def _build_network(dataset: Dataset, config: TrainConfig) -> Network:
    bins = dataset.features.bins(config.features)
    return build_network(config.model, bins, dataset.features.frames, len(dataset.labels), config.options)


def _fit_network(dataset: Dataset, train: StoredFeatures, config: TrainConfig) -> NormalisedNetwork:
    network = _build_network(dataset, config)
    model = NormalisedNetwork(network, *feature_statistics(train, config.seed)).eval()
    with torch.inference_mode():
        _FITTERS[config.model](network, model, train, config)
    return model


def _logits(model: NormalisedNetwork, clips: StoredFeatures) -> NDArray[np.float32]:
    with torch.inference_mode():
        found = torch.cat([model(features) for features, _ in clips.sequential_batches()])
    return found.numpy()


def _loss_and_accuracy(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> tuple[float, float]:
    """Cross-entropy in nats, and accuracy."""
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return float(loss), float((logits.argmax(1) == targets).mean())
