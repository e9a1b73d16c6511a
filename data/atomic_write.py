"""Atomic writes: write beside the target, then rename, so nothing is left half written.

Each write has a working folder beside its target:

    .NAME.earful-XXXXXXXX/lock      locked as long as the writing process lives
                          new       becomes the target
                          replaced  the earlier target, until the new one is in its place
                          earlier   the earlier target, while a new one is written in place

A killed process leaves its working folder; the next write in the same place deletes it, but not
an earlier target whose successor is unfinished.
"""

import contextlib
import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from earful.data.errors import EarfulError, describe_os_error

_MARK = ".earful-"
_LOCK, _NEW = "lock", "new"
_REPLACED, _EARLIER = "replaced", "earlier"
# A folder that is made has no lock yet for some microseconds.
_YOUNGEST_ABANDONED_SECONDS = 1.0
# Two seconds in all.
_READ_PAUSES, _READ_PAUSE_SECONDS = 100, 0.02
_wait = time.sleep


class OutputError(EarfulError):
    """The output path is taken by something else, or cannot be written."""


@contextlib.contextmanager
def staged_folder(target: Path, marker: str) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends without an error.

    A ``target`` that is an empty folder, or contains the file ``marker`` (an earlier result of the
    same kind), is replaced; anything else is refused before the block runs. Symbolic links are
    followed.

    Raises:
        OutputError: the target is taken by something else, or cannot be written.
    """
    with _translate_os_errors(target):
        target = _prepare_target(target, marker)
        with _working_folder(target) as folder:
            (folder / _NEW).mkdir()
            yield folder / _NEW
            _swap(folder / _NEW, target, folder)


@contextlib.contextmanager
def replaced_folder(target: Path, marker: str) -> Iterator[None]:
    """An empty ``target``, for output that must be written in place; restored on errors.

    The same targets are replaced and refused as in ``staged_folder``.

    Raises:
        OutputError: the target is taken by something else, or cannot be written.
    """
    with _translate_os_errors(target):
        target = _prepare_target(target, marker)
        with _working_folder(target) as folder:
            _move_away(target, folder / _EARLIER)
            try:
                target.mkdir()
                yield
            except BaseException:  # Ctrl-C too
                shutil.rmtree(target, ignore_errors=True)
                raise


@contextlib.contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A temporary file name that becomes ``target`` when the block ends without an error.

    Symbolic links are followed: the file they point to is replaced.

    Raises:
        OutputError: the target is a folder or not a regular file, or cannot be written.
    """
    with _translate_os_errors(target):
        target = target.resolve()
        require_file_name(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _working_folder(target) as folder:
            yield folder / _NEW
            _move((folder / _NEW).replace, target)


def write_text(target: Path, text: str) -> None:
    """Write a file as ``staged_file`` does, in UTF-8 and with the line ends of ``text``.

    Raises:
        OutputError: the target is a folder or not a regular file, or cannot be written.
    """
    with staged_file(target) as staging:
        staging.write_bytes(text.encode())


def write_json(target: Path, value: object) -> None:
    """Write a file with ``json_bytes`` of a value, as ``staged_file`` does.

    Raises:
        OutputError: the target is a folder or not a regular file, or cannot be written.
    """
    content = json_bytes(value)
    with staged_file(target) as staging:
        staging.write_bytes(content)


def json_bytes(value: object) -> bytes:
    """A value as the JSON of a file: indented, names of any script as they are.

    What is no Unicode (a file name in another encoding) is escaped, and read back as it was.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def require_file_name(target: Path) -> None:
    """Refuse an output that is a folder, or no regular file.

    Raises:
        OutputError: it is one.
    """
    if target.is_dir():
        raise OutputError(f"{target} is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target} is not a regular file; give another name")


def swap_folder(staging: Path, target: Path) -> None:
    """Replace ``target`` with the folder ``staging``; the old folder is deleted last."""
    with _working_folder(target) as folder:
        _swap(staging, target, folder)


def require_own_folder(folder: Path, markers: Sequence[str], result: str) -> None:
    """Refuse a folder of other files, for output that is added to what a folder holds.

    ``markers`` are glob patterns of an earlier ``result``. Hidden files do not count.

    Raises:
        OutputError: the folder is not empty and matches no marker.
    """
    if not folder.is_dir() or any(any(folder.glob(marker)) for marker in markers):
        return
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if names:
        raise OutputError(
            f"{folder} is not empty and holds no {result} (it has {names[0]}); give a new folder "
            "as --out"
        )


def _prepare_target(target: Path, marker: str) -> Path:
    """Resolve and check ``target``; create its parent."""
    target = target.resolve()
    if target.exists() and not _replaceable(target, marker):
        raise OutputError(
            f"{target} exists and is not an earlier result ({marker} is missing); give another name"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _replaceable(target: Path, marker: str) -> bool:
    return target.is_dir() and ((target / marker).is_file() or not any(target.iterdir()))


def _swap(new: Path, target: Path, folder: Path) -> None:
    _move_away(target, folder / _REPLACED)
    _move(new.rename, target)


def _move_away(target: Path, place: Path) -> None:
    """Move ``target``, if it exists, to its place in the working folder."""
    if target.exists():
        _move(target.rename, place)


def _move(move: Callable[[Path], object], to: Path) -> None:
    """Move a file or folder.

    Windows neither moves nor replaces what another process has open. Readers of results close them
    soon, so the move is tried again for two seconds.
    """
    for _ in range(_READ_PAUSES):
        try:
            move(to)
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
            _wait(_READ_PAUSE_SECONDS)
        else:
            return
    move(to)


@contextlib.contextmanager
def _working_folder(target: Path) -> Iterator[Path]:
    """A new locked folder beside ``target``; deletes those that killed processes left there.

    A target that was moved into it, and not replaced, is moved back at the end.
    """
    import tempfile

    from filelock import FileLock

    _delete_abandoned(target.parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}{_MARK}", dir=target.parent))
    lock = FileLock(folder / _LOCK)
    try:
        # Without locks (some network file systems) a killed process's folder stays.
        with contextlib.suppress(OSError, NotImplementedError):
            lock.acquire()
        yield folder
    finally:
        lock.release()
        _delete_working_folder(folder, target)


def _delete_working_folder(folder: Path, target: Path) -> None:
    for moved in (folder / _REPLACED, folder / _EARLIER):
        if moved.exists() and not target.exists():
            moved.rename(target)  # an error here keeps the folder
    shutil.rmtree(folder, ignore_errors=True)


def _delete_abandoned(parent: Path) -> None:
    """Delete working folders that no process holds, of whatever target in ``parent``."""
    from filelock import FileLock, Timeout

    oldest_kept = time.time() - _YOUNGEST_ABANDONED_SECONDS
    for folder in parent.glob(f".*{_MARK}*"):
        # What cannot be looked at or deleted costs space and nothing else.
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            if folder.stat().st_mtime >= oldest_kept:
                continue
            if not (folder / _LOCK).exists():
                folder.rmdir()  # killed before the lock, or after its deletion
                continue
            with FileLock(folder / _LOCK, blocking=False):
                pass
            target = parent / folder.name[1 : folder.name.rindex(_MARK)]
            if not ((folder / _EARLIER).exists() and target.exists()):
                _delete_working_folder(folder, target)


@contextlib.contextmanager
def _translate_os_errors(target: Path) -> Iterator[None]:
    """Raise an ``OutputError`` that names the target, and another file that failed if there is one.

    The temporary file or folder beside the target is not named: it is gone when the user looks.
    """
    try:
        yield
    except OSError as error:
        reason = describe_os_error(error)
        if error.errno == errno.ENOENT and not target.parent.is_dir():
            raise OutputError(
                f"cannot write {target}: {reason}; the folder {target.parent} is gone"
            ) from error
        failed = Path(error.filename) if isinstance(error.filename, str) else target
        is_own = any(
            part.startswith((target.name, f".{target.name}{_MARK}")) for part in failed.parts
        )
        other = "" if is_own else f"{failed}: "
        raise OutputError(f"cannot write {target}: {other}{reason}") from error
