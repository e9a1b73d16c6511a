"""All commands of data and training, in the order in which ``earful --help`` shows them.

Importing this module is cheap and needs no training package: each command imports what it runs.
"""

import typer

from earful.training.commands.datasets import check, prepare, synth
from earful.training.commands.demonstrate import demo
from earful.training.commands.explore import map_clips
from earful.training.commands.labels import labels
from earful.training.commands.measure import evaluate, report
from earful.training.commands.models import models_app
from earful.training.commands.retraining import retrain
from earful.training.commands.runs import compare, crossval, export, find_rate
from earful.training.commands.train import train
from earful.training.commands.tune import tune

_COMMANDS = (
    check,
    prepare,
    synth,
    find_rate,
    train,
    crossval,
    compare,
    tune,
    export,
    evaluate,
    report,
    retrain,
    demo,
)


def add_training_commands(app: typer.Typer) -> None:
    """Put the commands on the ``earful`` command line."""
    for command in _COMMANDS:
        app.command()(command)
    app.command("map")(map_clips)  # `map` itself is Python's
    app.add_typer(models_app)
    app.add_typer(labels)
