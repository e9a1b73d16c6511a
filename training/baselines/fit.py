"""From a dataset to a fitted baseline, with the same run folder as a trained network."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import feature_shape
from earful.models.bundle.device import TrainingDevice
from earful.models.layers.base import Network
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.encoder import EncoderConfig, FrozenEncoder
from earful.models.networks.zoo import build_network
from earful.training.baselines.encoder import check_encoder_rate, fit_encoder_head, pooled_vectors
from earful.training.baselines.gmm_hmm import check_gmm_hmm, fit_gmm_hmm
from earful.training.baselines.logistic import fit_logistic
from earful.training.baselines.majority import fit_majority
from earful.training.baselines.pooled_clips import CPU
from earful.training.baselines.random_forest import fit_random_forest
from earful.training.baselines.svm import check_svm, fit_svm
from earful.training.config.train_config import Loss, TrainConfig, TrainingError, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.class_weights import label_counts
from earful.training.loaders.loader import (
    StoredFeatures,
    build_targets_and_sampler,
    stored_features,
    stored_vectors,
)
from earful.training.metrics.calibration import calibrate, score_kind_for_loss
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
from earful.training.trainer.losses import comparison_loss, correct_predictions, has_label
from earful.training.trainer.setup import (
    check_settings,
    feature_statistics,
    find_resume_checkpoint,
)
from earful.training.trainer.trainer import FitResult, HeldOutLogits

Outputs = tuple[Tensor, Tensor]  # logits and targets, both (clips, labels)

# Fields of TrainConfig that a baseline uses; the others are about gradient training.
USED_FIELDS = ("model", "features", "seed", "options")
# Fitted networks that learn from negatives and from clips with several labels (``loss`` bce) too.
FLEXIBLE_TARGETS = ("encoder",)


@dataclass(frozen=True)
class _Fitted:
    """A fitted model and its outputs on training and validation clips."""

    model: NormalisedNetwork
    train: Outputs
    val: Outputs


_FITTERS: Mapping[str, Callable[[Any, NormalisedNetwork, StoredFeatures, TrainConfig], None]] = {
    "majority": fit_majority,
    "logistic": fit_logistic,
    "random-forest": fit_random_forest,
    "svm": fit_svm,
    "gmm-hmm": fit_gmm_hmm,
}
# Checks of single baselines.
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
    device: TrainingDevice = "auto",
    resume: bool = False,
    checkpoint_mirror: str | None = None,
    held_out: HeldOutLogits | None = None,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Fit ``config.model`` to the dataset's training clips, into the folder ``run``.

    It is fitted on the CPU, in one epoch. A finished run that is resumed stays as it is.
    ``held_out`` calibrates and measures it in the place of the validation clips, where it is fitted
    to those too. The other arguments are those of ``training.trainer.trainer.fit``.

    Raises:
        TrainingError: ``run`` holds a run and ``resume`` is false, the run to resume has other data
            or settings, or CUDA was requested and is not available.
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
    started_at = time.perf_counter()
    fitted = _fit(dataset, auxiliary, config, on_batch)
    if held_out is not None:
        fitted = replace(fitted, val=_held_out_outputs(dataset, held_out))
    record = _epoch_record(fitted, config, time.perf_counter() - started_at)
    logits, targets = fitted.val
    kind = score_kind_for_loss(config.loss)
    checkpoint = Checkpoint(
        config=config,
        features=dataset.features,
        labels=dataset.labels,
        dataset_hash=data_hash,
        weights=dict(fitted.model.state_dict()),
        raw_weights={},
        optimizer={},
        history=(record,),
        calibration=calibrate(logits.numpy(), (targets > 0.5).numpy(), kind),
    )
    store.save(BEST_CHECKPOINT, checkpoint)
    store.save(LAST_CHECKPOINT, replace(checkpoint, calibration=None))
    on_epoch(record)
    return FitResult(fitted.model, checkpoint, "cpu", 0, held_out)


def check_baseline(dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig) -> None:
    """Check that ``config.model`` can be fitted, before anything is read or written.

    Raises:
        TrainingError: a setting of gradient training, auxiliary data that does not fit or has
            negatives, no validation clip, a label without a training clip, or too many clips or
            other features than the model supports.
        DatasetError: clips with several labels.
        EarfulError: an option that the model does not have, or features too small for it.
    """
    require_used_fields(config)
    network = _build_network(dataset, config)
    if isinstance(network, FrozenEncoder):
        check_encoder_rate(network, dataset)
    if config.model in FLEXIBLE_TARGETS:
        check_settings(dataset, config, CPU)
    else:
        _require_labels(dataset, auxiliary, config)
    counts = _label_counts(dataset, auxiliary, config)
    if config.model in _CHECKS:
        _CHECKS[config.model](dataset, counts, config)


def _require_labels(dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig) -> None:
    """Refuse clips with several labels, and clips without one."""
    requirement = f"{config.model}, unlike the networks that are trained by gradient descent,"
    dataset.require_single_label(requirement)
    if auxiliary.extra is not None:
        auxiliary.extra.require_single_label(requirement)
    if auxiliary.negatives is not None:
        raise TrainingError(
            f"{config.model} cannot learn from the negatives in {auxiliary.negatives.folder}, only "
            "networks trained by gradient descent can; leave out --negatives, or use another "
            "--model"
        )


def require_used_fields(config: TrainConfig) -> None:
    """Refuse settings of gradient training.

    Raises:
        TrainingError: some differ from the defaults; the message names them.
    """
    changed = config.to_dict()
    defaults = default_config(config.model).to_dict()
    used = USED_FIELDS + (("loss",) if config.model in FLEXIBLE_TARGETS else ())
    unused = [name for name in changed if name not in used and changed[name] != defaults[name]]
    if unused:
        raise TrainingError(
            f"{config.model} is fitted, not trained by gradient descent: it has no "
            f"{', '.join(unused)}; leave them out, it uses {', '.join(used)}"
        )


def _label_counts(
    dataset: Dataset, auxiliary: AuxiliaryData, config: TrainConfig
) -> NDArray[np.int64]:
    """How many training clips each label has (labels,)."""
    # Raises if there is no validation clip.
    build_targets_and_sampler(dataset, NO_AUXILIARY_DATA, config, "val", CPU)
    targets, _ = build_targets_and_sampler(dataset, auxiliary, config, "train", CPU)
    counts = label_counts(targets.values, targets.n_labels).long().numpy()
    missing = [dataset.labels[i] for i in np.flatnonzero(counts == 0)]
    if missing:
        raise TrainingError(
            f"the train part of {dataset.folder} has no clip of {', '.join(missing)}, and a "
            "baseline needs clips of every label; prepare with another --split, or more clips"
        )
    return counts


def _build_network(dataset: Dataset, config: TrainConfig) -> Network:
    bins, frames = feature_shape(dataset.features, config.features)
    return build_network(config.model, bins, frames, len(dataset.labels), config.options)


def _fit(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    config: TrainConfig,
    on_batch: Callable[[int, int, int], None],
) -> _Fitted:
    network = _build_network(dataset, config)
    if isinstance(network, FrozenEncoder):
        return _fit_encoder(network, dataset, auxiliary, config, on_batch)
    train = stored_features(dataset, config, "train", CPU, auxiliary)
    val = stored_features(dataset, config, "val", CPU)
    model = NormalisedNetwork(network, *feature_statistics(train, config)).eval()
    with torch.inference_mode():
        _FITTERS[config.model](network, model, train, config)
        return _Fitted(model, _outputs(model, train), _outputs(model, val))


def _fit_encoder(
    network: FrozenEncoder,
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    config: TrainConfig,
    on_batch: Callable[[int, int, int], None],
) -> _Fitted:
    def vectors_of(part: Dataset) -> NDArray[np.float32]:
        return pooled_vectors(part, network, config.features, partial(on_batch, 1))

    options = EncoderConfig(**config.options)
    network.eval()
    train = stored_vectors(dataset, config, "train", vectors_of, auxiliary)
    val = stored_vectors(dataset, config, "val", vectors_of)
    with torch.inference_mode():
        fit_encoder_head(network, train, options.c, config.loss)

        def logits(vectors: Tensor) -> Tensor:
            scores: Tensor = network.head(network.standardiser(vectors))
            return scores

        model = NormalisedNetwork(network, torch.zeros(1), torch.ones(1)).eval()
        return _Fitted(model, _outputs(logits, train), _outputs(logits, val))


def _outputs(logits: Callable[[Tensor], Tensor], clips: StoredFeatures) -> Outputs:
    """Logits and targets, in the order of the sampler's rows."""
    pairs = [(logits(features), targets) for features, targets in clips.sequential_batches()]
    scores, targets = zip(*pairs, strict=True)
    return torch.cat(scores), torch.cat(targets)


def _held_out_outputs(dataset: Dataset, held_out: HeldOutLogits) -> Outputs:
    targets = torch.from_numpy(dataset.label_matrix[held_out.rows]).float()
    return torch.from_numpy(held_out.logits), targets


def _epoch_record(fitted: _Fitted, config: TrainConfig, seconds: float) -> EpochRecord:
    loss, accuracy = _loss_and_accuracy(*fitted.train, config.loss)
    val_loss, val_accuracy = _loss_and_accuracy(*fitted.val, config.loss)
    return EpochRecord(
        epoch=1,
        loss=loss,
        accuracy=accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        seconds=seconds,
        learning_rate=0.0,
    )


def _loss_and_accuracy(logits: Tensor, targets: Tensor, loss: Loss) -> tuple[float, float]:
    """The validation loss in nats, and the accuracy of the clips that have a label."""
    labelled = has_label(targets, loss)
    correct = correct_predictions(logits, targets, loss)[labelled]
    return float(comparison_loss(logits, targets, loss)), float(correct.double().mean())
