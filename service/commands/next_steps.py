"""Messages of commands on stderr: notes, the next commands, and what an interruption keeps."""

import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from earful.data.atomic_write import OutputError
from earful.service.commands.options import EXIT_INTERRUPTED
from earful.service.core.echo import echo

# Lines fit a terminal of 80 columns, indented.
_WIDTH, _INDENT = 80, "  "
# Continues a line in a shell.
_BREAK = " \\"


def program() -> str:
    """How this command was started, so that the commands it prints work when copied."""
    return "uv run earful" if "UV" in os.environ else "earful"  # `uv run` sets it


def print_message(text: str) -> None:
    """Print a message on stderr; on a terminal wrapped to 80 columns, else each line as it is."""
    echo(wrap(text) if sys.stderr.isatty() else text, err=True)


def wrap(text: str) -> str:
    """Lines of at most 80 columns, broken at spaces; continuation lines are indented."""
    wrapper = textwrap.TextWrapper(
        _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.fill(line) for line in text.splitlines())


def print_next(*commands: Sequence[object]) -> None:
    """Print commands to copy, each given by its words after ``earful``."""
    echo("next:", err=True)
    for command in commands:
        echo(format_command(command), err=True)


def print_choices(*choices: tuple[str, Sequence[object]]) -> None:
    """Print purposes, each with its command, as results on stdout."""
    for purpose, command in choices:
        echo(f"{format_command(command)}\n      {purpose}")


def format_command(words: Sequence[object]) -> str:
    """An indented command line, broken before flags where it is longer than 80 columns."""
    start = f"{_INDENT}{program()}"
    lines, line = [], start
    for part in _with_values(words):
        if len(line) + 1 + len(part) + len(_BREAK) > _WIDTH and line != start:
            lines.append(line + _BREAK)
            line = f"{_INDENT * 2}{part}"
        else:
            line = f"{line} {part}"
    return "\n".join([*lines, line])


def _with_values(words: Sequence[object]) -> list[str]:
    """The words, quoted for a shell; a flag and its value stay together."""
    parts: list[str] = []
    for word in map(str, words):
        quoted = shlex.quote(word)
        if parts and parts[-1].startswith("--") and " " not in parts[-1] and word[:2] != "--":
            parts[-1] += f" {quoted}"
        else:
            parts.append(quoted)
    return parts


@contextmanager
def keep_on_interrupt(
    message: str | Callable[[], str], *commands: Sequence[object]
) -> Iterator[None]:
    """On Ctrl-C say what is kept, as it is then, and how to continue, and exit with 130.

    A ``message`` that depends on what is kept is printed too when the disk or the memory is full.
    """
    try:
        yield
    except (OutputError, OSError, MemoryError):
        if callable(message):
            print_message(message())
        raise
    except KeyboardInterrupt as error:
        text = message if isinstance(message, str) else message()
        raise interrupted(text, *commands) from error


def kept_if_any(folder: Path, pattern: str, kept: str) -> Callable[[], str]:
    """For ``keep_on_interrupt``: ``folder`` keeps something, if a file matches the pattern then."""
    return lambda: (
        f"{folder} keeps {kept}; the same command continues"
        if any(folder.glob(pattern))
        else "nothing was finished, so nothing is kept"
    )


def interrupted(message: str, *commands: Sequence[object]) -> typer.Exit:
    """Print what is kept and how to continue; returns what ends the command with 130."""
    print_message(f"interrupted: {message}")
    if commands:
        print_next(*commands)
    return typer.Exit(EXIT_INTERRUPTED)
