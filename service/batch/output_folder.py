"""The output path and the job folder beside it: what may be overwritten, and how it is replaced."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from earful.data.atomic_write import OutputError, swap_folder
from earful.service.batch.formats import FOLDER_FORMATS
from earful.service.batch.job_state import JobState, ResultsFingerprint, lock_folder

JOB_SUFFIX = ".job"
_LONGEST_PATH = 4096


def check_output(out: Path, format_name: str, inputs: Sequence[str] = ()) -> None:
    """Refuse an output path that must not be overwritten.

    Raises:
        OutputError: the path is an input, a device, a file where a folder is needed or the other
            way round, or a folder that holds anything but an earlier result.
    """
    if out.resolve() in {Path(path).resolve() for path in inputs if len(path) < _LONGEST_PATH}:
        raise OutputError(f"{out} is one of the inputs and would be overwritten; give another path")
    if out.is_relative_to("/dev") or out.is_relative_to("/proc"):
        raise OutputError(f"{out} is a device; omit --out to write to standard output")
    if format_name not in FOLDER_FORMATS:
        if out.is_dir():
            raise OutputError(f"{out} is a folder; give a file name")
        if out.exists() and not out.is_file():
            raise OutputError(f"{out} is not a regular file; give another file name")
        return
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is not a folder; give the name of a new folder")
    _check_folder(out)


def _check_folder(out: Path) -> None:
    """Only the unchanged results of an earlier run may be replaced."""
    if not out.exists() or not any(out.iterdir()):
        return
    previous = JobState.load(job_folder_path(out))
    fingerprint = None if previous is None else previous.results or previous.pending_results
    if fingerprint is None:
        raise OutputError(
            f"{out} is not empty and does not hold earlier results; give another folder"
        )
    if fingerprint != results_fingerprint(out):
        raise OutputError(
            f"{out} holds files that were added or changed since the results were written; move "
            "them, or give another folder"
        )


@contextlib.contextmanager
def job_folder(out: Path | None) -> Iterator[Path]:
    """The locked folder of a run: temporary without ``out``, removed if the run did not start."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="earful-") as temporary:
            yield Path(temporary)
        return
    try:
        folder = job_folder_path(out)
        is_new = not folder.exists()
        with lock_folder(folder):
            try:
                yield folder
            finally:
                if is_new and JobState.load(folder) is None:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def job_folder_path(out: Path) -> Path:
    """The folder of the run that writes ``out``: results.csv -> results.csv.job."""
    out = out.resolve()
    return out.with_name(out.name + JOB_SUFFIX)


def publish_results(results: Path, out: Path) -> None:
    """Move results to ``out``, replacing what is there."""
    if results.is_dir():
        swap_folder(results, out.resolve())
    else:
        results.replace(out.resolve())


def remove_path(target: Path) -> None:
    """Remove a file or a folder if it exists."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def results_fingerprint(out: Path) -> ResultsFingerprint:
    """The state of a file of results, or of a folder of them."""
    files = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else [out]
    statuses = [path.stat() for path in files]
    return ResultsFingerprint(
        files=len(files),
        bytes=sum(status.st_size for status in statuses),
        mtime_ns=max((status.st_mtime_ns for status in statuses), default=0),
    )
