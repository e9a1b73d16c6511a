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

from data.dataset import Dataset
from models.device import Device
from models.network import Network
from models.pipeline import NormalisedNetwork
from models.zoo import build
from training.baselines.clips import (
    Clips,
    feature_statistics,
    training_clips,
    validation_clips,
)
from training.baselines.gmm_hmm import fit_gmm_hmm
from training.baselines.logistic import fit_logistic
from training.baselines.majority import fit_majority
from training.baselines.random_forest import fit_random_forest
from training.baselines.svm import fit_svm
from training.begin import begun, choose_device
from training.calibration import calibrate
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
from training.config import TrainConfig, TrainingError, default_config
from training.fit import FitResult

# What a baseline heeds of a TrainConfig; the rest is about steps.
HEEDED = ("model", "features", "seed", "options")

_FITS: Mapping[str, Callable[[Any, NormalisedNetwork, Clips, TrainConfig], None]] = {
    "majority": fit_majority,
    "logistic": fit_logistic,
    "random-forest": fit_random_forest,
    "svm": fit_svm,
    "gmm-hmm": fit_gmm_hmm,
}


def fit_baseline(
    dataset: Dataset,
    run: Path,
    config: TrainConfig,
    *,
    company: Company = ALONE,
    device: Device = "auto",
    resume: bool = False,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Fit ``config.model`` to the dataset's training clips, into the folder ``run``.

    It is fitted on the CPU, and one epoch long: ``on_epoch`` hears once. A run that is finished and
    resumed is left as it is.

    Raises:
        TrainingError: a run is there already, the one to resume is of other data or settings, a
            setting is about steps, CUDA was asked for and is absent, or there is nothing to fit to
            or to validate on.
        EarshotError: an option that the baseline does not have.
    """
    require_heeded(config)
    dataset.refuse_several(config.model)
    choose_device(device)
    data_hash = company.content_hash(dataset)
    if resume and begun(run, config, data_hash) is not None:
        checkpoint = load_checkpoint(run / BEST)
        return FitResult(rebuild_network(checkpoint), checkpoint, "cpu", 1)
    if (run / LAST).exists():
        raise TrainingError(f"{run} holds a run; go on with --resume, or give another --out")
    train = training_clips(dataset, company, config.features)
    val = validation_clips(dataset, config.features)
    began = time.perf_counter()
    model = _fitted(dataset, train, config)
    seconds = time.perf_counter() - began
    logits = _logits(model, val)
    loss, accuracy = _measured(_logits(model, train), train.targets)
    record = EpochRecord(1, loss, accuracy, *_measured(logits, val.targets), seconds, 0.0)
    checkpoint = Checkpoint(
        config, dataset.features, dataset.labels, data_hash, dict(model.state_dict()), {}, {},
        (record,), calibrate(logits, np.eye(val.n_labels, dtype=np.bool_)[val.targets], "softmax"),
    )  # fmt: skip
    save_checkpoint(run / BEST, checkpoint)
    save_checkpoint(run / LAST, replace(checkpoint, calibration=None))
    on_epoch(record)
    return FitResult(model, checkpoint, "cpu", 0)


def require_heeded(config: TrainConfig) -> None:
    """Refuse settings that only training by steps can follow.

    Raises:
        TrainingError: some differ from the defaults; the message names them.
    """
    changed = config.to_dict()
    usual = default_config(config.model).to_dict()
    odd = [name for name in changed if name not in HEEDED and changed[name] != usual[name]]
    if odd:
        raise TrainingError(
            f"{config.model} is fitted and not trained by steps: it has no {', '.join(odd)}; "
            f"it heeds {', '.join(HEEDED)}"
        )


def _fitted(dataset: Dataset, train: Clips, config: TrainConfig) -> NormalisedNetwork:
    network: Network = build(
        config.model, dataset.features.bins(config.features), dataset.features.frames,
        train.n_labels, config.options,
    )  # fmt: skip
    model = NormalisedNetwork(network, *feature_statistics(train)).eval()
    with torch.inference_mode():
        _FITS[config.model](network, model, train, config)
    return model


def _logits(model: NormalisedNetwork, clips: Clips) -> NDArray[np.float32]:
    with torch.inference_mode():
        found = torch.cat([model(features) for features, _ in clips.parts()])
    return found.numpy()


def _measured(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> tuple[float, float]:
    """Cross-entropy in nats, and accuracy."""
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return float(loss), float((logits.argmax(1) == targets).mean())
