"""Standard output that may end on a full disk, or be read no longer."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from earful.data.atomic_write import OutputError
from earful.data.errors import describe_os_error


def open_closed_streams() -> None:
    """Open what the caller has closed (``>&-``), before another file takes its number.

    Writes to stdout fail as they would; messages go nowhere.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


@contextmanager
def checked_stdout() -> Iterator[None]:
    """Name stdout in the errors of its writes, and write all of it before the block ends.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OutputError: it cannot be written.
    """
    if not isinstance(sys.stdout, io.TextIOWrapper):  # closed, or taken by a test
        yield
        return
    usual, sys.stdout = sys.stdout, _checked(sys.stdout)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (BrokenPipeError, OutputError):
        _discard(sys.stdout.fileno())  # Python flushes again when it ends
        raise
    finally:
        sys.stdout = usual


def _checked(stdout: io.TextIOWrapper) -> TextIO:
    stdout.flush()
    raw = _StandardOutput(stdout.fileno(), "wb", closefd=False)
    is_unbuffered = isinstance(stdout.buffer, io.RawIOBase)  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        raw if is_unbuffered else io.BufferedWriter(raw),
        stdout.encoding,
        stdout.errors,
        line_buffering=stdout.line_buffering,
        write_through=stdout.write_through,
    )


class _StandardOutput(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write the output (stdout): {describe_os_error(error)}"
            ) from error


def _discard(descriptor: int) -> None:
    """Send what is written from now on to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
