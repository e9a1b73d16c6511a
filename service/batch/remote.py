"""Recordings at a URL (s3://, gs://, https://, ...), read with fsspec of the extra ``remote``."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from earful.data.audio.decode import AudioError
from earful.data.errors import PROGRAM_FAULTS
from earful.service.batch.errors import BatchError

_BLOCK_BYTES = 4 << 20
_RETRY_SECONDS = (0.5, 2.0)
_INSTALL_HINT = "install it with: uv sync --inexact --extra remote"


def is_remote(path: str) -> bool:
    """Whether a path is a URL rather than a file name."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def find_remote(url: str, suffixes: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    """Yield (URL, size in bytes or -1, change tag) of each audio file: one, a folder's, a glob's.

    Raises:
        BatchError: the protocol is unknown, or the URL cannot be listed.
    """
    with _as_batch_error(url):
        filesystem, path = _open_filesystem(url)
        entries: Iterable[tuple[str, Any]]
        if "*" in path:
            entries = sorted(filesystem.glob(path, detail=True).items())
        elif url.endswith("/") or (not _is_http(url) and filesystem.isdir(path)):
            entries = _walk(filesystem, path, suffixes)
        else:
            entries = [(path, _info(filesystem, path))]
        for name, info in entries:
            yield _url(filesystem, name), int(info.get("size") or -1), _change_tag(info)


def fetch_bytes(url: str, max_bytes: int) -> bytes | None:
    """Fetch the bytes at a URL; None when there are more than ``max_bytes``.

    An unreachable server is tried again after ``_RETRY_SECONDS``.

    Raises:
        AudioError: ``not_found``, ``unreachable`` or ``unreadable``.
    """
    for seconds in _RETRY_SECONDS:
        try:
            return _fetch(url, max_bytes)
        except AudioError as error:
            if error.code != "unreachable":
                raise
        time.sleep(seconds)
    return _fetch(url, max_bytes)


def _fetch(url: str, max_bytes: int) -> bytes | None:
    with _as_audio_error(), _as_batch_error(url):
        filesystem, path = _open_filesystem(url)
        with filesystem.open(path, "rb", block_size=max_bytes) as file:
            blob = bytes(file.read(max_bytes + 1))
    return blob if len(blob) <= max_bytes else None


@contextlib.contextmanager
def fetch_to_file(url: str, on_read: Callable[[], None]) -> Iterator[Path]:
    """Download a URL to a temporary file, for recordings that are too large for memory.

    ``on_read`` is called after each block.

    Raises:
        AudioError: ``not_found`` or ``unreadable``.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="earful-") as folder:
        local = Path(folder, "recording")
        with _as_audio_error(), _as_batch_error(url):
            filesystem, path = _open_filesystem(url)
            with filesystem.open(path, "rb") as source, local.open("wb") as copy:
                while block := source.read(_BLOCK_BYTES):
                    copy.write(block)
                    on_read()
        yield local


def _walk(filesystem: Any, folder: str, suffixes: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for _, folders, files in filesystem.walk(folder, detail=True):
        for name in sorted(files):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield files[name]["name"], files[name]
        for name in sorted(folders):
            yield from _walk(filesystem, folders[name]["name"], suffixes)
        return  # filesystem.walk would go deeper in its own order


def _open_filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def _info(filesystem: Any, path: str) -> Any:
    try:
        return filesystem.info(path)
    except FileNotFoundError:
        return {}  # reading it reports the error in its row


def _change_tag(info: Any) -> str:
    keys = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "generation")
    return str(next((info[key] for key in keys if info.get(key)), ""))


def _url(filesystem: Any, path: str) -> str:
    return str(filesystem.unstrip_protocol(path))


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


@contextlib.contextmanager
def _as_batch_error(url: str) -> Iterator[None]:
    """Translate errors of fsspec and its backends: each library has its own exceptions."""
    try:
        yield
    except ImportError as error:
        raise BatchError(f"{url} needs {error.name or error}; {_INSTALL_HINT}") from error
    except (AudioError, BatchError, FileNotFoundError, *PROGRAM_FAULTS):
        raise
    except Exception as error:
        raise BatchError(f"cannot read {url}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _as_audio_error() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        # fsspec raises this for every HTTP problem; the cause has the status.
        cause = error.__cause__ or error.__context__
        if cause is not None and getattr(cause, "status", None) not in (404, 410):
            raise AudioError("unreachable", f"the server did not send the file: {cause}") from error
        raise AudioError("not_found", "there is no file at this URL") from error
    except BatchError as error:
        raise AudioError("unreadable", str(error)) from error
