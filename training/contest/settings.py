"""Which settings go with ``--model auto``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from earful.data.features.kinds import PREPARED_KINDS
from earful.models.networks.zoo import zoo_entry
from earful.training.config.overrides import SettingValue, check_setting
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.contest.contest import Contest

AUTO = "auto"
# Settings of the winner, where it is trained in epochs and not fitted.
EPOCH_SETTINGS = ("epochs", "batch_size", "patience", "precision", "compile", "shards")
_ALLOWED = ("model", "seed", "features", *EPOCH_SETTINGS)


def check_contest_settings(overrides: Mapping[str, Any]) -> None:
    """Refuse settings of a single network, which a contest does not know yet.

    Raises:
        TrainingError: there are some; the message names them.
    """
    for name, value in overrides.items():  # a mistyped one is named as such
        if name != "model":
            check_setting(TrainConfig.model, name, value)
    refused = sorted(set(overrides) - set(_ALLOWED))
    if refused:
        raise TrainingError(
            f"{', '.join(refused)} is a setting of one network, and --model auto chooses between "
            "several; give --model too, such as --model cnn"
        )
    replace(TrainConfig(), epochs=overrides.get("epochs", 1))  # refuses what is no number of epochs
    if overrides.get("features", PREPARED_KINDS[0]) not in PREPARED_KINDS:
        raise TrainingError(
            f"--features is {' or '.join(PREPARED_KINDS)}, found {overrides['features']!r}"
        )


def contest_overrides(
    contest: Contest, overrides: Mapping[str, SettingValue]
) -> dict[str, SettingValue]:
    """The settings of the winner: without those that it does not have."""
    chosen = {**overrides, "model": contest.winner.model}
    if zoo_entry(contest.winner.model).fitted:
        chosen = {name: value for name, value in chosen.items() if name not in EPOCH_SETTINGS}
    if zoo_entry(contest.winner.model).own_input:
        chosen.pop("features", None)
    return chosen
