"""Where results go, and the folder beside them that holds their run: what may stand there."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from earful.data.atomic_write import OutputError, swap_folder
from earful.service.batch.formats import FOLDER_FORMATS
from earful.service.batch.shards import JobState, lock_folder

JOB_SUFFIX = ".job"
_LONGEST_PATH = 4096


def check_output(out: Path, format_name: str, inputs: Sequence[str] = ()) -> None:
    """Refuse a place that holds something else, or what the results are of.

    Raises:
        OutputError: a folder where a file is to be written, or the other way round.
    """
    if out.resolve() in {Path(path).resolve() for path in inputs if len(path) < _LONGEST_PATH}:
        raise OutputError(f"{out} is one of the inputs, which results would replace; give another")
    if out.is_relative_to("/dev") or out.is_relative_to("/proc"):
        raise OutputError(f"{out} is a device; leave --out away to write to standard output")
    if format_name not in FOLDER_FORMATS:
        if out.is_dir():
            raise OutputError(f"{out} is a folder; give the name of a file")
        if out.exists() and not out.is_file():
            raise OutputError(f"{out} is no regular file; give the name of one")
        return
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is no folder; give the name of one that is new")
    _check_folder(out)


def _check_folder(out: Path) -> None:
    """Only what an earlier run has written, as it has written it, may be replaced."""
    if not out.exists() or not any(out.iterdir()):
        return
    previous = JobState.load(job_folder_path(out))
    written = None if previous is None else previous.results or previous.pending_results
    if written is None:
        raise OutputError(f"{out} is not empty and is no earlier result; give another")
    if written != results_fingerprint(out):
        raise OutputError(
            f"{out} holds files that were added or changed since; move them, or give another"
        )


@contextlib.contextmanager
def job_folder(out: Path | None) -> Iterator[Path]:
    """Where a run is kept, locked; removed where it has not come to anything."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="earful-") as temporary:
            yield Path(temporary)
        return
    try:
        folder = job_folder_path(out)
        new = not folder.exists()
        with lock_folder(folder):
            try:
                yield folder
            finally:
                if new and JobState.load(folder) is None:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def job_folder_path(out: Path) -> Path:
    """Where the run that writes some results is kept."""
    out = out.resolve()
    return out.with_name(out.name + JOB_SUFFIX)


def publish_results(results: Path, out: Path) -> None:
    """Results to where they are wanted; what stood there goes."""
    if results.is_dir():
        swap_folder(results, out.resolve())
    else:
        results.replace(out.resolve())


def remove_path(target: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def results_fingerprint(out: Path) -> dict[str, int]:
    """What tells whether somebody has changed results since: sizes and times of all files."""
    files = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else [out]
    statuses = [path.stat() for path in files]
    return {
        "files": len(files),
        "bytes": sum(status.st_size for status in statuses),
        "mtime_ns": max((status.st_mtime_ns for status in statuses), default=0),
    }
