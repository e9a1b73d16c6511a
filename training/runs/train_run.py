"""A training run: training, then the report, in one folder."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import zoo_entry
from earful.training.baselines.fit import FLEXIBLE_TARGETS, fit_baseline
from earful.training.config.overrides import SettingValue, apply_overrides
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.runs.event_log import EventLog
from earful.training.runs.metrics_file import RunMetrics, read_run_metrics
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.run_dataset import write_run_dataset
from earful.training.runs.run_metrics import write_report
from earful.training.trainer.checkpoint import (
    LAST_CHECKPOINT,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
)
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.trainer import HeldOutLogits, fit


def find_resume_config(out: Path, checkpoint_mirror: str | None = None) -> TrainConfig | None:
    """The configuration of the run in a folder or its mirror; None where there is no run.

    Raises:
        EarfulError: a damaged checkpoint, or a mirror that cannot be reached.
    """
    CheckpointStore.open(out, checkpoint_mirror).sync()
    last = out / LAST_CHECKPOINT
    return load_checkpoint(last).config if last.is_file() else None


def adapt_to_dataset(
    base: TrainConfig, overrides: Mapping[str, Any], dataset: Dataset, processes: int
) -> TrainConfig:
    """``base`` with defaults that the data and the number of processes need, except ``overrides``.

    Multi-label data needs the loss ``bce``; a batch has a shard per process.
    """
    defaults: dict[str, Any] = {}
    if not zoo_entry(base.model).fitted:
        defaults["shards"] = processes
    elif base.model not in FLEXIBLE_TARGETS:
        return base
    if dataset.is_multi_label:
        defaults["loss"] = "bce"
    return replace(base, **{k: v for k, v in defaults.items() if k not in overrides})


def dataset_config(
    model: str, overrides: Mapping[str, SettingValue], dataset: Dataset
) -> TrainConfig:
    """The settings of a network on a dataset: its defaults, adapted, with ``overrides``.

    Raises:
        EarfulError: an invalid value, or an option that the network does not have.
    """
    config = apply_overrides(default_config(model), overrides)
    return adapt_to_dataset(config, overrides, dataset, processes=1)


def train_run(
    dataset: Dataset,
    out: Path,
    config: TrainConfig,
    *,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    start: Checkpoint | None = None,
    device: TrainingDevice = "auto",
    resume: bool = False,
    progress: TrainingProgress | None = None,
    checkpoint_mirror: str | None = None,
    dist_context: DistributedContext | None = None,
    tensorboard: bool = False,
    held_out: HeldOutLogits | None = None,
) -> RunMetrics | None:
    """Train into ``out`` and evaluate the best epoch; arguments are those of ``trainer.fit``.

    ``tensorboard`` writes a TensorBoard log into ``out``. ``held_out`` is that of
    ``fit_baseline``. Returns the content of metrics.json, or None in processes other than
    process 0, which write nothing.

    Raises:
        TrainingError: the run cannot start or continue.
    """
    auxiliary.check_teacher(dataset, config)
    callbacks = progress or TrainingProgress()
    is_main_process = dist_context is None or dist_context.is_main_process
    if is_main_process:
        callbacks = replace(
            callbacks, on_epoch=_call_both(_record_dataset(out, dataset), callbacks.on_epoch)
        )
    if tensorboard and is_main_process:
        log = EventLog(out)
        callbacks = replace(callbacks, on_epoch=_call_both(callbacks.on_epoch, log.on_epoch))
    if zoo_entry(config.model).fitted:
        result = fit_baseline(
            dataset,
            out,
            config,
            auxiliary=auxiliary,
            device=device,
            resume=resume,
            checkpoint_mirror=checkpoint_mirror,
            held_out=held_out,
            on_batch=callbacks.on_batch,
            on_epoch=callbacks.on_epoch,
        )
        if result.resumed_after:
            if metrics := _intact_metrics(out):  # nothing has changed
                return metrics
            if dataset.fits_validation:
                raise TrainingError(
                    f"{out} cannot be measured again: its network was fitted to the validation "
                    "clips too; train into another folder"
                )
    else:
        result = fit(
            dataset,
            out,
            config,
            auxiliary=auxiliary,
            start=start,
            device=device,
            resume=resume,
            checkpoint_mirror=checkpoint_mirror,
            dist_context=dist_context,
            on_batch=callbacks.on_batch,
            on_epoch=callbacks.on_epoch,
            on_note=callbacks.on_note,
        )
    if not is_main_process:
        return None
    metrics = write_report(dataset, out, result)
    if tensorboard:
        log.finish(dataset)
    return metrics


def _intact_metrics(run: Path) -> RunMetrics | None:
    """Those of a finished run; None if they are to be written, also where they are damaged."""
    try:
        return read_run_metrics(run)
    except TrainingError:
        return None


def _record_dataset(run: Path, dataset: Dataset) -> Callable[[EpochRecord], None]:
    """After each epoch: the folder of a resumed run's dataset may have changed."""
    return lambda record: write_run_dataset(run, dataset)


def _call_both(
    one: Callable[[EpochRecord], None], other: Callable[[EpochRecord], None]
) -> Callable[[EpochRecord], None]:
    def call_both(record: EpochRecord) -> None:
        one(record)
        other(record)

    return call_both
