"""All commands of data and training, in the order in which ``earshot --help`` shows them.

Importing this module is cheap and needs no training package: each command imports what it runs.
"""

import typer

from training.commands.datasets import check, prepare, synth
from training.commands.demonstrate import demo
from training.commands.labels import labels
from training.commands.measure import evaluate, report
from training.commands.runs import compare, crossval, export, train

_COMMANDS = (
    check,
    prepare,
    synth,
    train,
    crossval,
    compare,
    export,
    evaluate,
    report,
    demo,
)


def add_training_commands(app: typer.Typer) -> None:
    """Put the commands on the ``earshot`` command line."""
    for command in _COMMANDS:
        app.command()(command)
    app.add_typer(labels)
