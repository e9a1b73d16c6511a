"""The options of ``earful train`` are the settings, and its help has the networks' own defaults."""

import dataclasses
import inspect
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import typer

from earful.data.features.kinds import PREPARED_KINDS
from earful.models.networks.zoo import ZOO
from earful.training.cli import build_app
from earful.training.commands.train import train
from earful.training.commands.train_options import NetworkFlags
from earful.training.config.network_defaults import DEFAULT_LEARNING_RATES, NETWORK_DEFAULTS
from earful.training.config.setting import settings_of
from earful.training.config.train_config import (
    Optimizer,
    TrainConfig,
    TrainingError,
    default_config,
)

TRAINED = [name for name, network in ZOO.items() if not network.fitted]


def option(name: str) -> Any:
    root: Any = typer.main.get_command(build_app())
    command = root.get_command(typer.Context(root), "train")
    return next(parameter for parameter in command.params if parameter.name == name)


def test_every_setting_is_a_flag_of_train() -> None:
    parameters = inspect.signature(train).parameters
    for name, hint in get_type_hints(TrainConfig).items():
        if name == "options":
            continue
        offered = get_args(get_args(parameters[name].annotation)[0])[0]
        assert parameters[name].default is None
        if get_origin(hint) is not None and name != "grad_clip":
            # The input of an encoder is no choice: it follows from --model.
            choices = PREPARED_KINDS if name == "features" else get_args(hint)
            assert set(get_args(offered)) == set(choices), name
        elif name != "grad_clip":
            assert offered is hint, name


def test_flags_of_networks_are_options_of_networks_with_their_types() -> None:
    types: dict[str, set[Any]] = {}
    for network in ZOO.values():
        for name, hint in get_type_hints(network.config).items():
            types.setdefault(name, set()).add(str if get_origin(hint) else hint)
    for name, declared in settings_of(NetworkFlags).items():
        assert declared.value_type in types[name], name


@pytest.mark.parametrize("name", ["epochs", "patience", "learning_rate", "augment", "batch_size"])
def test_help_has_the_default_of_each_network(name: str) -> None:
    _, _, defaults = option(name).help.rstrip(")").partition("(default: ")
    usual, *others = defaults.split("; ")
    shown = {
        model: text.rpartition(" ")[2]
        for text in others
        for model in text.rpartition(" ")[0].split(", ")
    }
    words = {"True": "yes", "False": "no"}
    for model in TRAINED:
        value = f"{getattr(default_config(model), name)}"
        assert shown.pop(model, usual) == words.get(value, value), model
    assert shown == {}


def test_names_of_flags_are_as_they_were() -> None:
    assert option("weight_decay").opts == ["--weight-decay", "--l2"]
    assert (option("compile").opts, option("compile").secondary_opts) == (
        ["--compile"],
        ["--no-compile"],
    )
    assert option("bidirectional").secondary_opts == ["--unidirectional"]


def test_defaults_are_of_networks_and_optimizers_that_there_are() -> None:
    assert set(NETWORK_DEFAULTS) < set(ZOO)
    assert set(DEFAULT_LEARNING_RATES) < set(get_args(Optimizer))
    assert {name for name, network in ZOO.items() if network.fitted} == {
        name for name in ZOO if default_config(name).epochs == 1
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "epochs must be finite and above 0, found 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite and above 0, found nan"),
        ({"grad_clip": -1.0}, "grad_clip must be finite and above 0, found -1.0"),
        ({"schedule_factor": 1.5}, "schedule_factor must be from 0 to 1, found 1.5"),
        ({"schedule_factor": 0.0}, "schedule_factor must be finite and above 0, found 0.0"),
        ({"seed": 2**32}, "seed must be from 0 to 4294967295, found 4294967296"),
        ({"focal_gamma": -0.5}, "focal_gamma must be 0 or more, found -0.5"),
        ({"ema_decay": 1.0}, "ema_decay must be below 1: with 1 nothing is learned"),
        ({"loss": "hinge"}, "loss is one of cross-entropy, focal, bce, found 'hinge'"),
    ],
)
def test_values_out_of_bounds_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError) as refused:
        dataclasses.replace(TrainConfig(), **changed)
    assert str(refused.value) == message
