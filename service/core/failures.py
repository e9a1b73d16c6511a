"""What a command says of an exception that ends it: one sentence, never a traceback."""

import contextlib
import errno
import os
from pathlib import Path

from earful.data.errors import EarfulError, describe_os_error, missing_package_error
from earful.data.system.limits import has_memory_limit

# What torch, ONNX Runtime and other C++ libraries write when memory cannot be had.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "std::bad_alloc",
    "bad allocation",
    "failed to allocate memory",
    "not enough memory",
    "can't start new thread",
    "failed to map segment",
)
# What the interpreter says of an error that it had no memory to make.
_LOST_ERRORS = ("without setting an exception", "without exception set")
_MEMORY_MESSAGE = (
    "out of memory; raise the limit (ulimit -v, or that of the container), or give the command "
    "less to do at once"
)


def describe_failure(error: Exception) -> str:
    """The sentence for an exception; the traceback of a fault of ours is kept in a file."""
    if is_out_of_memory(error):  # before what was made of it, such as "not a usable model"
        return _MEMORY_MESSAGE
    if isinstance(error, EarfulError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (missing := missing_package_error(error)):
        return str(missing)
    if isinstance(error, OSError):
        return _describe_system(error)
    if isinstance(error, RecursionError):
        return "the input is nested too deeply: folders or brackets within each other"
    return _describe_fault(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had, as the exception or one that caused it says."""
    if isinstance(error, MemoryError) or _is_lost_memory_error(error):
        return True
    # The sentences of our own errors contain file names, which can be any words.
    text = "" if isinstance(error, EarfulError) else str(error).lower()
    cause = error.__cause__ or error.__context__
    return any(words in text for words in _OUT_OF_MEMORY) or (
        cause is not None and is_out_of_memory(cause)
    )


def _is_lost_memory_error(error: BaseException) -> bool:
    """Whether the interpreter failed where a limit left it no memory for a ``MemoryError``."""
    return (
        isinstance(error, SystemError)
        and any(words in str(error) for words in _LOST_ERRORS)
        and has_memory_limit()
    )


def _describe_system(error: OSError) -> str:
    if error.filename is None and error.errno == errno.ENOENT and _working_folder_gone():
        return "the working folder is gone; change to another one (cd)"
    return f"cannot use {_file_of(error)}: {describe_os_error(error)}"


def _working_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _file_of(error: OSError) -> str:
    if error.filename is None:
        return "a file"
    return os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)


def _describe_fault(error: Exception) -> str:
    """A sentence that names the file of the traceback, for a report."""
    import tempfile
    import traceback

    text = " ".join(str(error).split())[:200]
    lines = "".join(traceback.format_exception(error))
    place = ""
    with contextlib.suppress(OSError):  # a full disk, say: the sentence has to do
        handle, place = tempfile.mkstemp(prefix="earful-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(lines)
    kept = f"please report it with {place}" if place else "please report it"
    return f"internal error ({type(error).__name__}: {text}), a fault of Earful; {kept}"
