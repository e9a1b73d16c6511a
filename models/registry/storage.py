"""Storage of a registry's files: a local folder, or an object store through fsspec.

Both guarantee that files are replaced atomically, that the manifest of a version appears last, and
that one process at a time holds the lock.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from earful.data.atomic_write import staged_file
from earful.data.errors import PROGRAM_FAULTS
from earful.models.bundle.regular_file import read_regular_file
from earful.models.registry.errors import RegistryError

MANIFEST_FILE = "manifest.json"
# An object store does not show that the holder of a lock was killed; no change takes this long.
STALE_LOCK_SECONDS = 300.0


class Storage(Protocol):
    """Files by their path below the root, with slashes; reading a missing one: FileNotFoundError.

    ``folder`` is the root if it is a local folder, otherwise None.
    """

    root: str

    @property
    def folder(self) -> Path | None: ...

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, content: bytes) -> None:
        """Replace a file atomically."""
        ...

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder."""
        ...

    def is_published(self, folder: str) -> bool:
        """Whether a folder has a manifest."""
        ...

    def publish(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a new folder, all or nothing; readers recognise it by its manifest."""
        ...

    def remove(self, folder: str) -> None:
        """Delete a folder; it stops being published at once."""
        ...

    def lock(self, path: str) -> contextlib.AbstractContextManager[None]:
        """Hold a lock while the context is open.

        Raises:
            RegistryError: another process holds it.
        """
        ...


def open_storage(root: str) -> Storage:
    """The storage at a folder or URL.

    Raises:
        RegistryError: no installed package supports this kind of URL.
    """
    if root.startswith("file://"):
        return LocalStorage(Path(root.removeprefix("file://")))
    return RemoteStorage(root) if "://" in root else LocalStorage(Path(root))


class LocalStorage:
    """A local folder; changes are renames, and the kernel releases the lock of a killed process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.root = str(root)

    @property
    def folder(self) -> Path:
        return self._root

    def read(self, path: str) -> bytes:
        with _as_registry_error(f"{self.root}/{path}"):
            return read_regular_file(self._root / path)

    def write(self, path: str, content: bytes) -> None:
        with staged_file(self._root / path) as staging:
            _write_synced(staging, content)

    def folders(self, path: str) -> list[str]:
        try:
            with _as_registry_error(f"{self.root}/{path}"):
                return [entry.name for entry in (self._root / path).iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []

    def is_published(self, folder: str) -> bool:
        return (self._root / folder / MANIFEST_FILE).is_file()

    def publish(self, folder: str, files: Mapping[str, bytes]) -> None:
        with _as_registry_error(f"{self.root}/{folder}"):
            self._publish(self._root / folder, files)

    def _publish(self, target: Path, files: Mapping[str, bytes]) -> None:
        _remove_stale_files(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for name, content in files.items():
                _write_synced(staging / name, content)
                (staging / name).chmod(0o444)  # a version never changes
            staging.chmod(0o755)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def remove(self, folder: str) -> None:
        target = self._root / folder
        with _as_registry_error(f"{self.root}/{folder}"):
            trash = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(trash / target.name)
            shutil.rmtree(trash)

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        lock_path = self._root / path
        with _as_registry_error(str(lock_path)):
            lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_path)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise _lock_held_error(self.root) from None
        try:
            yield
        finally:
            lock.release()


class RemoteStorage:
    """An object store; objects are replaced atomically, and the lock is an object."""

    def __init__(self, root: str) -> None:
        import fsspec

        self.root = root
        with _as_registry_error(root):
            self._fs, self._base = fsspec.core.url_to_fs(root)

    @property
    def folder(self) -> None:
        return None

    def read(self, path: str) -> bytes:
        with _as_registry_error(f"{self.root}/{path}"):
            content: bytes = self._fs.cat_file(self._full_path(path))
            return content

    def write(self, path: str, content: bytes) -> None:
        with _as_registry_error(f"{self.root}/{path}"):
            self._fs.pipe_file(self._full_path(path), content)

    def folders(self, path: str) -> list[str]:
        try:
            with _as_registry_error(f"{self.root}/{path}"):
                self._fs.invalidate_cache()  # other processes write here too
                entries: list[dict[str, Any]] = self._fs.ls(self._full_path(path), detail=True)
        except FileNotFoundError:
            return []
        return [
            e["name"].rstrip("/").rpartition("/")[2] for e in entries if e["type"] == "directory"
        ]

    def is_published(self, folder: str) -> bool:
        with _as_registry_error(f"{self.root}/{folder}"):
            return bool(self._fs.exists(self._full_path(f"{folder}/{MANIFEST_FILE}")))

    def publish(self, folder: str, files: Mapping[str, bytes]) -> None:
        for name in sorted(files, key=lambda name: name == MANIFEST_FILE):
            self.write(f"{folder}/{name}", files[name])

    def remove(self, folder: str) -> None:
        with _as_registry_error(f"{self.root}/{folder}"):
            self._fs.rm_file(self._full_path(f"{folder}/{MANIFEST_FILE}"))
            self._fs.rm(self._full_path(folder), recursive=True)

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        holder = {"token": secrets.token_hex(8), "by": socket.gethostname(), "since": time.time()}
        content = json.dumps(holder).encode()
        if self._lock_age_seconds(path) > STALE_LOCK_SECONDS:
            with contextlib.suppress(FileNotFoundError), _as_registry_error(f"{self.root}/{path}"):
                self._fs.rm_file(self._full_path(path))
        try:
            with _as_registry_error(f"{self.root}/{path}"):
                self._fs.pipe_file(self._full_path(path), content, mode="create")
        except FileExistsError:
            raise _lock_held_error(self.root) from None
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                if self.read(path) == content:  # otherwise another process took it over
                    self._fs.rm_file(self._full_path(path))

    def _lock_age_seconds(self, path: str) -> float:
        """Seconds since the lock was taken; 0 if there is no lock or it has no time."""
        try:
            return time.time() - float(json.loads(self.read(path))["since"])
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return 0.0

    def _full_path(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}"


@contextlib.contextmanager
def _as_registry_error(path: str) -> Iterator[None]:
    """Raise errors as RegistryError, except missing and existing files, which callers expect.

    A fault in a program stays one: it does not mean that the place cannot be reached.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, *PROGRAM_FAULTS):
        raise
    except Exception as error:  # each library of a store has its own
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RegistryError(
            f"cannot access {path}: {reason}; check that it is reachable and try again"
        ) from error


def _lock_held_error(root: str) -> RegistryError:
    return RegistryError(
        f"another process is changing the registry {root}; when it has finished, check "
        "`earful models show` and try again"
    )


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove_stale_files(folder: Path) -> None:
    """Delete what killed writers left; the caller holds the lock, so nobody is writing.

    ``data.atomic_write`` has no such lock, and would leave what is younger than a second.
    """
    for entry in folder.glob(".*"):
        shutil.rmtree(entry, ignore_errors=True)
