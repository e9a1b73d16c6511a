"""The ``earful`` command line: which module holds each command, and how errors end.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 done, but some inputs
failed and were reported; 2 nothing done, with one clear sentence; 130 interrupted.
"""

import importlib
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from earful.data.errors import EarfulError
from earful.service.commands.options import EXIT_NOTHING_DONE

# What only the extra ``train`` brings; without it the message names the install command.
TRAINING_PACKAGES = frozenset(
    {
        "torch",
        "torchaudio",
        "librosa",
        "pandas",
        "scipy",
        "sklearn",
        "onnx",
        "onnxscript",
        "matplotlib",
        "tensorboard",
    }
)
# In the order of ``earful --help``: the module and function (or group) of each command.
COMMANDS = {
    "check": ("earful.training.commands.check", "check"),
    "prepare": ("earful.training.commands.prepare", "prepare"),
    "synth": ("earful.training.commands.synth", "synth"),
    "lr-find": ("earful.training.commands.lr_find", "lr_find"),
    "train": ("earful.training.commands.train", "train"),
    "crossval": ("earful.training.commands.crossval", "crossval"),
    "compare": ("earful.training.commands.compare", "compare"),
    "tune": ("earful.training.commands.tune", "tune"),
    "export": ("earful.training.commands.export", "export"),
    "evaluate": ("earful.training.commands.evaluate", "evaluate"),
    "report": ("earful.training.commands.report", "report"),
    "retrain": ("earful.training.commands.retrain", "retrain"),
    "demo": ("earful.training.commands.demo", "demo"),
    "map": ("earful.training.commands.map_clips", "map_clips"),
    "models": ("earful.training.commands.models", "models_app"),
    "labels": ("earful.training.commands.labels", "labels"),
    "classify": ("earful.service.commands.classify", "classify"),
    "merge": ("earful.service.commands.merge", "merge"),
    "serve": ("earful.service.commands.serve", "serve"),
    "feedback": ("earful.service.commands.feedback", "feedback_app"),
}


class LazyCommands(TyperGroup):
    """Imports the module of a command when it is asked for, so that each starts fast."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Names alone: enough for the group to suggest the nearest one to a mistyped command.
        self.commands = {name: TyperCommand(name) for name in COMMANDS}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            return typer.main.get_group(command)
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(cmd_name)(command)
        return typer.main.get_command(app)


def build_app() -> typer.Typer:
    """The whole command line; a command is imported when it runs."""
    app = typer.Typer(
        name="earful",
        help="Train, measure, export and serve audio classifiers that work on voices never heard.",
        cls=LazyCommands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_earful)
    return app


def main() -> None:
    """Entry point: runs a command and turns errors into one sentence and an exit code."""
    # Threads of torch that spin while they wait halve the speed on a machine that is busy with
    # other work. Read when the OpenMP library is loaded, so it is set before any import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        build_app()(prog_name="earful")
    except EarfulError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        _fail(f"this command needs {package}; install it with: uv sync --inexact --extra train")
    except OSError as error:
        _fail(f"cannot use {error.filename or 'a file'}: {error.strerror or error}")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - it takes 20 ms

        typer.echo(f"earful {version('earful')}")
        raise typer.Exit


def _earful(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            is_eager=True,
            callback=_show_version,
        ),
    ] = False,
) -> None:
    """Train, measure, export and serve audio classifiers that work on voices never heard."""


def _fail(message: str) -> NoReturn:
    typer.echo(f"earful: {message}", err=True)
    sys.exit(EXIT_NOTHING_DONE)


if __name__ == "__main__":
    main()
