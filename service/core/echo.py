"""Prints for people: names of strangers cannot command the terminal."""

import io
import sys
from typing import TextIO

import typer

from earful.data.text.printable import printable

# What the lines of a message are made of; a carriage return moves the cursor and is none of it.
_LAYOUT = "\n\t"


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line on stdout or stderr; what is not printable is escaped.

    Results that go to a file or to another program stay as they are.
    """
    line = str(text)
    typer.echo(  # noqa: TID251 - the one place
        printable(line, _LAYOUT) if err or sys.stdout.isatty() else line, err=err
    )


def escape_undecodable_names() -> None:
    """Let stdout escape the bytes of file names that are no text, instead of failing on them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class ResultStream:
    """stdout for rows of results: on a terminal, what is not printable is escaped."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout, self._escapes = stdout, stdout.isatty()

    def write(self, text: str, /) -> int:
        """Write a part of a row; returns the number of characters it was given."""
        self._stdout.write(printable(text, _LAYOUT) if self._escapes else text)
        return len(text)
