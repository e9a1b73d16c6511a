"""The contest of ``train`` without a network: held with its progress, kept with the run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from earful.data.dataset.dataset import Dataset
from earful.data.features.kinds import FeatureKind
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import zoo_entry
from earful.training.config.overrides import SettingValue
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.contest.contest import Contest, hold_contest, write_contest
from earful.training.contest.settings import EPOCH_SETTINGS, check_contest_settings
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.runs.progress import TrainingProgress, training_progress
from earful.training.trainer.checkpoint import EpochRecord


def keep_contest(callbacks: TrainingProgress, contest: Contest, out: Path) -> TrainingProgress:
    """Write the contest with the first epoch, before which the run folder is not ours."""

    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == 1:
            write_contest(contest, out)
        callbacks.on_epoch(record)

    return replace(callbacks, on_epoch=on_epoch)


def hold_contest_with_progress(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    overrides: Mapping[str, SettingValue],
    device: TrainingDevice,
    processes: int,
    *,
    show: bool,
) -> Contest:
    """The contest of ``--model auto``, with its progress on stderr.

    Raises:
        TrainingError: a setting of one network was given, or several processes were started.
    """
    check_contest_settings(overrides)
    if auxiliary.teacher is not None:
        raise TrainingError(
            "--model auto cannot have a --teacher; name the network that learns, such as --model "
            "tcresnet"
        )
    if processes > 1:
        raise TrainingError(
            "--model auto chooses a network in one process; start several with its name as --model"
        )
    with training_progress(1, show=show) as callbacks:
        contest = hold_contest(
            dataset,
            auxiliary,
            seed=int(overrides.get("seed", TrainConfig.seed)),
            features=cast("FeatureKind | None", overrides.get("features")),
            device=device,
            on_note=callbacks.on_note,
        )
        winner = contest.winner.model
        unused = [name for name in EPOCH_SETTINGS if name in overrides]
        if unused and zoo_entry(winner).fitted:
            callbacks.on_note(
                f"note: {winner} is fitted, not trained in epochs; without effect: "
                f"{', '.join(unused)}"
            )
        callbacks.on_note(f"{winner} is trained in full")
    return contest
