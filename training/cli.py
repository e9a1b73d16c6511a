"""The ``earful`` command line: the module of each command, and how errors end.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 done, but some inputs
failed and were reported; 2 nothing done, with one clear sentence; 130 interrupted; 141 nobody
reads stdout any more, as after ``| head``.
"""

import contextlib
import importlib
import os
import re
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

import earful
from earful.data.errors import did_you_mean
from earful.data.text.printable import printable
from earful.models.bundle.call_watcher import guard_process, interrupt_on_signals
from earful.service.commands.next_steps import print_message
from earful.service.commands.options import EXIT_INTERRUPTED, EXIT_NOTHING_DONE, EXIT_READER_GONE
from earful.service.commands.standard_output import checked_stdout, open_closed_streams
from earful.service.core.echo import echo, escape_undecodable_names
from earful.service.core.failures import describe_failure

_SERVICE, _TRAINING = "earful.service.commands", "earful.training.commands"
# In the order of ``earful --help``: panel, and the module and function (or group) of each command.
PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "First look": {
        "demo": (f"{_TRAINING}.demo", "demo"),
        "classify": (f"{_SERVICE}.classify", "classify"),
    },
    "Your own data": {
        "datasets": (f"{_TRAINING}.datasets", "datasets"),
        "check": (f"{_TRAINING}.check", "check"),
        "prepare": (f"{_TRAINING}.prepare", "prepare"),
        "train": (f"{_TRAINING}.train", "train"),
        "export": (f"{_TRAINING}.export", "export"),
        "labels": (f"{_TRAINING}.labels", "labels"),
        "synth": (f"{_TRAINING}.synth", "synth"),
        "map": (f"{_TRAINING}.map_clips", "map_clips"),
    },
    "Measure and improve": {
        "evaluate": (f"{_TRAINING}.evaluate", "evaluate"),
        "report": (f"{_TRAINING}.report", "report"),
        "compare": (f"{_TRAINING}.compare", "compare"),
        "crossval": (f"{_TRAINING}.crossval", "crossval"),
        "lr-find": (f"{_TRAINING}.lr_find", "lr_find"),
        "tune": (f"{_TRAINING}.tune", "tune"),
    },
    "Serve": {
        "serve": (f"{_SERVICE}.serve", "serve"),
        "merge": (f"{_SERVICE}.merge", "merge"),
    },
    "Learn from use": {
        "feedback": (f"{_SERVICE}.feedback", "feedback_app"),
        "retrain": (f"{_TRAINING}.retrain", "retrain"),
        "models": (f"{_TRAINING}.models", "models_app"),
    },
}
COMMANDS = {name: place for panel in PANELS.values() for name, place in panel.items()}
_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
# Typer's message for a value that is none of the choices.
_WRONG_CHOICE = re.compile(
    r"(?:Value error, )?(?P<text>'(?P<value>.*)' is not one of (?P<all>.*))\."
)


class LazyCommands(TyperGroup):
    """Imports the module of a command when it is asked for, so that each starts fast."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Names alone: enough for the group to suggest the nearest one to a mistyped command.
        self.commands = {name: TyperCommand(name) for name in COMMANDS}
        _hide_flag_types(self)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        if cmd_name in ("classify", "serve"):
            _import_numpy()
        function = getattr(importlib.import_module(module), attribute)
        if isinstance(function, typer.Typer):
            command: Any = typer.main.get_group(function)
            subcommands = list(command.commands.values())
        else:
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command(cmd_name)(function)
            command, subcommands = typer.main.get_command(app), []
        command.name, command.rich_help_panel = cmd_name, _PANEL_OF[cmd_name]
        for each in (command, *subcommands):
            _hide_flag_types(each)
            # The terminal wraps paragraphs; the line ends of the docstring would wrap them twice.
            each.help = re.sub(r"(?<!\n)\n(?!\n)", " ", each.help or "")
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command; suggest the nearest choice for a mistyped value."""
        try:
            return super().invoke(ctx)
        except TyperException as error:
            error.message = printable(_with_suggestion(error.message), keep="\n")
            raise
        except BrokenPipeError as error:  # `earful ... | head`: Typer would end with 1
            raise typer.Exit(EXIT_READER_GONE) from error
        except KeyboardInterrupt as error:
            echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error


def _import_numpy() -> None:
    """Import NumPy with one thread of its BLAS, which starts them when it is imported.

    More threads take longer to start than the small products of these commands take. Processes
    that they start, such as a retraining, have their own number.
    """
    is_set = "OPENBLAS_NUM_THREADS" in os.environ
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    importlib.import_module("numpy")
    if not is_set:
        del os.environ["OPENBLAS_NUM_THREADS"]


def _hide_flag_types(command: Any) -> None:
    """Leave out of the help that a flag without a value is a ``bool``, also of ``--help``."""
    get_params = command.get_params

    def get_params_without_types(ctx: Any) -> Any:
        params = get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params

    command.get_params = get_params_without_types


def _with_suggestion(message: str) -> str:
    match = _WRONG_CHOICE.fullmatch(message)
    if match is None:
        return message
    choices = re.findall(r"'([^']*)'", match["all"])
    return f"{match['text']}{did_you_mean(match['value'], choices)}."


def build_app() -> typer.Typer:
    """The whole command line; a command is imported when it runs."""
    app = typer.Typer(
        name="earful",
        help=_earful.__doc__,
        cls=LazyCommands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_earful)
    return app


def main() -> None:
    """Entry point: runs a command and turns errors into one sentence and an exit code."""
    # Spinning threads of torch halve the speed on a busy machine. The OpenMP library reads this
    # when it is loaded, so it is set before any import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_closed_streams()
    escape_undecodable_names()
    guard_process(lambda reason: print_message(f"earful: {reason}"), EXIT_NOTHING_DONE)
    interrupt_on_signals()
    try:
        with checked_stdout():
            build_app()(prog_name="earful")
    except BrokenPipeError:
        sys.exit(EXIT_READER_GONE)
    except Exception as error:  # noqa: BLE001 - the entry of the process: no traceback leaves it
        _exit_with_error(describe_failure(error))


def _show_version(wanted: bool) -> None:
    if wanted:
        echo(f"earful {earful.__version__}")
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
    """Train, measure, export and serve speech and audio classifiers.

    First look: earful demo. Your own data: check, prepare, train, export, evaluate, serve.
    """


def _exit_with_error(message: str) -> NoReturn:
    with contextlib.suppress(OSError):  # stderr may be on the full disk as well
        print_message(f"earful: {message}")
    sys.exit(EXIT_NOTHING_DONE)


if __name__ == "__main__":
    main()
