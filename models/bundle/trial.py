"""Tries a model file in a process of its own, before a process that others rely on opens it.

A graph may loop for ever in one node, take all memory or crash the runtime. Only a child process
can be ended without its parent. It takes about a second, which a reload while serving can spare and
a command cannot: a command watches itself (``models.bundle.call_watcher``).
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from earful.data.system.limits import limit_memory_to_available
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.call_watcher import guard_process
from earful.models.bundle.metadata import ModelError, ModelUnreadable
from earful.models.bundle.runtime import ORT_ERRORS, error_line
from earful.models.bundle.session_calls import run_session

# More than the limit of opening, after which the child ends by itself with a better message.
TRIAL_SECONDS = 90.0
_REFUSED, _UNREADABLE = 2, 3


def try_model(path: Path, batches: Sequence[int]) -> str:
    """Open a model on the CPU, and run its golden example in batches of these sizes.

    The result is the SHA-256 of the file that was tried: what is opened next may be another one.

    Raises:
        ModelError: it cannot be used.
        ModelUnreadable: it cannot be read, which may be temporary.
    """
    command = [sys.executable, "-P", "-X", "utf8", "-m", __name__, str(path), *map(str, batches)]
    try:
        result = subprocess.run(  # noqa: S603 - no shell; the path is an argument
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{path} was not opened within {TRIAL_SECONDS:g} s in a process of its own"
        ) from error
    if result.returncode == 0:
        return result.stdout.decode("ascii")
    reason = result.stdout.decode("utf-8", "replace").strip()
    if result.returncode == _UNREADABLE:
        raise ModelUnreadable(reason)
    if result.returncode == _REFUSED:
        raise ModelError(reason)
    raise ModelError(f"{path} ended the process that tried it ({_exit_reason(result.returncode)})")


def _exit_reason(exit_code: int) -> str:
    if exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _main(path: Path, batches: Sequence[int]) -> None:
    """Entry point of the child process."""
    guard_process(_report, _REFUSED)
    limit_memory_to_available()
    try:
        bundle = open_bundle(path)
        for batch in batches:
            clips = bundle.metadata.golden.input().repeat(batch, axis=0)
            run_session(bundle.session, ["probabilities", "embedding"], {"waveform": clips}, path)
    except ModelUnreadable as error:
        _report(str(error))
        sys.exit(_UNREADABLE)
    except ModelError as error:
        _report(str(error))
        sys.exit(_REFUSED)
    except ORT_ERRORS as error:
        _report(f"{path} fails to run: {error_line(error)}")
        sys.exit(_REFUSED)
    _report(bundle.sha256)


def _report(text: str) -> None:
    """Send the SHA-256, or the reason of a refusal, to the parent."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [int(batch) for batch in sys.argv[2:]])
