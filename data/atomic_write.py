"""Atomic writes: write to a temporary sibling, then rename, so nothing is left half written."""

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from earful.data.errors import EarfulError, describe_os_error

_BACKUP_NAME = "replaced"


class OutputError(EarfulError):
    """The output path is taken by something else, or cannot be written."""


@contextlib.contextmanager
def staged_folder(target: Path, marker: str) -> Iterator[Path]:
    """A temporary sibling folder that becomes ``target`` when the block ends without an error.

    A ``target`` that is an empty folder, or contains the file ``marker`` (an earlier result of the
    same kind), is replaced; anything else is refused before the block runs. Symbolic links are
    followed.

    Raises:
        OutputError: the target is taken by something else, or cannot be written.
    """
    with _translate_os_errors(target):
        target = _prepare_target(target, marker)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _translate_os_errors(target):
            yield staging
            staging.chmod(0o777 & ~_umask())  # mkdtemp creates it with mode 700
            swap_folder(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def replaced_folder(target: Path, marker: str) -> Iterator[None]:
    """An empty ``target``, for output that must be written in place; restored on errors.

    The same targets are replaced and refused as in ``staged_folder``.

    Raises:
        OutputError: the target is taken by something else, or cannot be written.
    """
    with _translate_os_errors(target):
        target = _prepare_target(target, marker)
        backup = _move_to_backup(target)
    try:
        with _translate_os_errors(target):
            target.mkdir()
            yield
    except BaseException:  # Ctrl-C too
        shutil.rmtree(target, ignore_errors=True)
        _restore_backup(backup, target)
        raise
    shutil.rmtree(backup, ignore_errors=True)


@contextlib.contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A temporary sibling file name that becomes ``target`` when the block ends without an error.

    Symbolic links are followed: the file they point to is replaced.

    Raises:
        OutputError: the target is a folder or not a regular file, or cannot be written.
    """
    with _translate_os_errors(target):
        target = target.resolve()
    staging = target.parent / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with _translate_os_errors(target):
            if target.is_dir():
                raise OutputError(f"{target} is a folder; give the name of a file")
            if target.exists() and not target.is_file():
                raise OutputError(f"{target} is not a regular file; give another name")
            target.parent.mkdir(parents=True, exist_ok=True)
            yield staging
            staging.replace(target)
    finally:
        with contextlib.suppress(OSError):  # renamed already, or never created
            staging.unlink()


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


def swap_folder(staging: Path, target: Path) -> None:
    """Replace ``target`` with the folder ``staging``; the old folder is deleted last."""
    backup = _move_to_backup(target)
    try:
        staging.rename(target)
    except OSError:
        _restore_backup(backup, target)
        raise
    shutil.rmtree(backup, ignore_errors=True)


def _move_to_backup(target: Path) -> Path:
    """Move ``target``, if it exists, into a new sibling folder."""
    backup = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        if target.exists():
            target.rename(backup / _BACKUP_NAME)
    except OSError:
        backup.rmdir()
        raise
    return backup


def _restore_backup(backup: Path, target: Path) -> None:
    if (backup / _BACKUP_NAME).exists():
        (backup / _BACKUP_NAME).rename(target)
    shutil.rmtree(backup, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
        is_own = any(part.startswith((target.name, f".{target.name}.")) for part in failed.parts)
        other = "" if is_own else f"{failed}: "
        raise OutputError(f"cannot write {target}: {other}{reason}") from error
