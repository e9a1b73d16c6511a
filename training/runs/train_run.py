"""A training run as users know it: fit, then the report, in one folder."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.networks.zoo import entry
from earful.training.baselines.fit import fit_baseline
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.auxiliary_data import ALONE, Company
from earful.training.runs.event_log import EventLog
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.run_metrics import write_report
from earful.training.trainer.checkpoint import LAST, Checkpoint, EpochRecord, load_checkpoint
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.distributed import Team
from earful.training.trainer.trainer import fit


def begun_config(out: Path, checkpoints: str | None = None) -> TrainConfig | None:
    """What the run in a folder, or its second place, was begun with; None where none was begun.

    Raises:
        EarfulError: a damaged checkpoint, or a second place that cannot be reached.
    """
    CheckpointStore.at(out, checkpoints).level()
    last = out / LAST
    return load_checkpoint(last).config if last.is_file() else None


def suited(
    base: TrainConfig, given: Mapping[str, Any], dataset: Dataset, processes: int
) -> TrainConfig:
    """A new run's configuration as its clips and processes need it, where nothing else is given.

    Clips with several labels are learnt label by label, and a batch has a shard for each process.
    """
    if entry(base.model).fitted:
        return base
    needed: dict[str, Any] = {"shards": processes}
    if dataset.multi_label:
        needed["loss"] = "bce"
    return replace(base, **{k: v for k, v in needed.items() if k not in given})


def train_run(
    dataset: Dataset,
    out: Path,
    config: TrainConfig,
    *,
    company: Company = ALONE,
    start: Checkpoint | None = None,
    device: Device = "auto",
    resume: bool = False,
    progress: TrainingProgress | None = None,
    checkpoints: str | None = None,
    team: Team | None = None,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train into ``out``, on its company too and from the weights of ``start`` where given, and
    measure the best epoch.

    ``tensorboard`` leaves logs of it in ``out``. Returns what metrics.json holds; only the first
    process of a team writes it, the others return nothing.

    Raises:
        TrainingError: the run cannot start or go on.
    """
    heard = progress or TrainingProgress()
    first = team is None or team.is_first
    if tensorboard and first:
        log = EventLog(out)
        heard = replace(heard, on_epoch=_both(heard.on_epoch, log.on_epoch))
    if entry(config.model).fitted:
        result = fit_baseline(
            dataset, out, config, company=company, device=device, resume=resume,
            checkpoints=checkpoints, on_epoch=heard.on_epoch,
        )  # fmt: skip
    else:
        result = fit(
            dataset, out, config, company=company, start=start, device=device, resume=resume,
            checkpoints=checkpoints, team=team, on_batch=heard.on_batch, on_epoch=heard.on_epoch,
            on_note=heard.on_note,
        )  # fmt: skip
    metrics = write_report(dataset, out, result) if first else {}
    if tensorboard and first:
        log.finish(dataset)
    return metrics


def _both(
    one: Callable[[EpochRecord], None], other: Callable[[EpochRecord], None]
) -> Callable[[EpochRecord], None]:
    def hear(record: EpochRecord) -> None:
        one(record)
        other(record)

    return hear
