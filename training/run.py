"""A training run as users know it: fit, then the report, in one folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from data.dataset import Dataset
from models.device import Device
from training.checkpoint import LAST, Checkpoint, load_checkpoint
from training.company import ALONE, Company
from training.config import TrainConfig, default_config
from training.fit import fit
from training.progress import TrainingProgress
from training.report import write_report


def choose_config(out: Path, given: dict[str, Any], *, resume: bool) -> TrainConfig:
    """The configuration of a run: what was given, over what it was begun with, over the defaults.

    Raises:
        EarshotError: a value that cannot be trained with, or a damaged checkpoint.
    """
    last = out / LAST
    if resume and last.is_file():
        return replace(load_checkpoint(last).config, **given)
    return replace(default_config(given.get("model", TrainConfig.model)), **given)


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
) -> dict[str, Any]:
    """Train into ``out``, on its company too and from the weights of ``start`` where given, and
    measure the best epoch.

    Returns what metrics.json holds.

    Raises:
        TrainingError: the run cannot start or go on.
    """
    heard = progress or TrainingProgress()
    result = fit(
        dataset, out, config, company=company, start=start, device=device, resume=resume,
        on_batch=heard.on_batch, on_epoch=heard.on_epoch,
    )  # fmt: skip
    return write_report(dataset, out, result)
