"""Recordings at a URL (s3://, gs://, https://, ...), through fsspec of the extra ``remote``."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from earful.data.audio.decode import AudioError
from earful.service.batch.errors import BatchError

_BLOCK_BYTES = 4 << 20
_RETRY_SECONDS = (0.5, 2.0)
_INSTALL_HINT = "install it with: uv sync --inexact --extra remote"


def is_remote(path: str) -> bool:
    """Whether a path is a URL rather than a file name."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def find_remote(url: str, suffixes: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    """(URL, bytes or -1, stamp) of a file, of each audio file under a folder, or of a glob's files.

    Raises:
        BatchError: a protocol that is not known, or a place that cannot be listed.
    """
    with _as_batch_error(url):
        filesystem, path = _open_filesystem(url)
        found: Iterable[tuple[str, Any]]
        if "*" in path:
            found = sorted(filesystem.glob(path, detail=True).items())
        elif url.endswith("/") or (not _is_http(url) and filesystem.isdir(path)):
            found = _walk(filesystem, path, suffixes)
        else:
            found = [(path, _info(filesystem, path))]
        for name, info in found:
            yield _url(filesystem, name), int(info.get("size") or -1), _change_tag(info)


def fetch_bytes(url: str, max_bytes: int) -> bytes | None:
    """The bytes at a URL, or None where there are more than ``max_bytes``.

    A server that does not answer is asked again, later each time.

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
    """What is at a URL as a temporary file, for what is too large for memory.

    ``on_read`` hears of each piece.

    Raises:
        AudioError: ``not_found`` or ``unreadable``.
    """
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
        folders_in_order = sorted(folders)
        for name in sorted(files):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield files[name]["name"], files[name]
        for name in folders_in_order:
            yield from _walk(filesystem, folders[name]["name"], suffixes)
        return  # deeper ones were walked here, in order


def _open_filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def _info(filesystem: Any, path: str) -> Any:
    try:
        return filesystem.info(path)
    except FileNotFoundError:
        return {}  # reading it will tell


def _change_tag(info: Any) -> str:
    keys = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "generation")
    return str(next((info[key] for key in keys if info.get(key)), ""))


def _url(filesystem: Any, path: str) -> str:
    return str(filesystem.unstrip_protocol(path))


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


@contextlib.contextmanager
def _as_batch_error(url: str) -> Iterator[None]:
    """Errors of fsspec and of the libraries under it, each of which has its own, as one."""
    try:
        yield
    except ImportError as error:
        raise BatchError(f"{url} needs {error.name or error}; {_INSTALL_HINT}") from error
    except (AudioError, BatchError, FileNotFoundError):
        raise
    except Exception as error:
        raise BatchError(f"cannot read {url}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _as_audio_error() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        # fsspec says so of all that goes wrong with HTTP; what it was is the cause.
        cause = error.__cause__ or error.__context__
        if cause is not None and getattr(cause, "status", None) not in (404, 410):
            raise AudioError("unreachable", f"no answer that helps: {cause}") from error
        raise AudioError("not_found", "nothing at this address") from error
    except BatchError as error:
        raise AudioError("unreadable", str(error)) from error
