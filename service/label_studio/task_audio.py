"""Reads the audio of Label Studio's tasks from the configured folder or server only.

Every failure is an ``AudioError``. Its message is logged, so it contains no file name.
"""

import asyncio
import http.client
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from earful.data.annotations.resolve_paths import is_label_studio_path, locate
from earful.data.audio.decode import AudioError, read_file
from earful.data.labels.clip import ClipProblem
from earful.service.core.settings import Settings

_MAX_DOWNLOADS = 4
_CHUNK_BYTES = 1 << 16
_URL_CHARACTERS = "/%:@!$&'()*+,;=~-._?"
_REASONS = {
    "outside": "the audio is outside EARFUL_LABEL_STUDIO_ROOT",
    "no_audio": "the task's data has no path or URL of its audio",
}
_DEFAULT_REASON = (
    "the audio is neither in the folder EARFUL_LABEL_STUDIO_ROOT nor at EARFUL_LABEL_STUDIO_URL; "
    "set one of them"
)


class TaskAudio:
    """Reads audio of tasks on its own threads, ``_MAX_DOWNLOADS`` at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.memory_limits()
        url = settings.label_studio_url
        self._server = None if url is None else urlsplit(url.rstrip("/"))
        self._threads = ThreadPoolExecutor(_MAX_DOWNLOADS, "label-studio")

    async def read(self, reference: str, deadline: float) -> bytes | AudioError:
        """The bytes of a task's audio, or the error. ``deadline`` is a ``time.monotonic`` time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await loop.run_in_executor(self._threads, self._read, reference, deadline)
        except AudioError as error:
            return error
        except TimeoutError:
            return _deadline_error()

    def _read(self, reference: str, deadline: float) -> bytes:
        root = self._settings.label_studio_root
        path = ClipProblem(0, "", "missing_file", "") if root is None else locate(reference, root)
        if not isinstance(path, ClipProblem):
            return read_file(path, self._limits)
        url = self._url(reference)
        if url is None or path.code == "no_audio":
            raise AudioError("not_found", _REASONS.get(path.code, _DEFAULT_REASON))
        return self._fetch(url, deadline)

    def _url(self, reference: str) -> str | None:
        """The URL of a reference on the configured server; None when it is not on that server."""
        server = self._server
        if server is None:
            return None
        try:
            parts = urlsplit(reference)
            if parts.scheme and _origin(parts) != _origin(server):
                return None
        except ValueError:
            return None
        if not parts.scheme and not is_label_studio_path(reference):
            return None
        has_prefix = parts.scheme or parts.path.startswith(f"{server.path}/")
        prefix = "" if has_prefix else server.path
        path = quote(f"{prefix}/{parts.path.lstrip('/')}", safe=_URL_CHARACTERS)
        query = quote(parts.query, safe=_URL_CHARACTERS)
        return urlunsplit((server.scheme, server.netloc, path, query, ""))

    def _fetch(self, url: str, deadline: float) -> bytes:
        """Download a file within the size limit of an upload."""
        request = urllib.request.Request(url)  # noqa: S310 - always the configured server
        token = self._settings.label_studio_token.get_secret_value()
        if token:
            request.add_header("Authorization", f"Token {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameServer)
        try:
            with opener.open(request, timeout=_seconds_left(deadline)) as response:
                return self._read_body(response.read1, deadline)
        except HTTPError as error:
            error.close()
            message = f"Label Studio responded {error.code}; check EARFUL_LABEL_STUDIO_TOKEN"
            raise AudioError("unreachable", message) from error
        except TimeoutError as error:
            raise _deadline_error() from error
        except (URLError, http.client.HTTPException, ValueError, OSError) as error:
            kind = type(getattr(error, "reason", error)).__name__
            raise AudioError("unreachable", f"Label Studio does not respond ({kind})") from error

    def _read_body(self, read: Callable[[int], bytes], deadline: float) -> bytes:
        body = bytearray()
        while chunk := read(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise AudioError("too_large", f"more than {self._limits.max_bytes} bytes")
            _seconds_left(deadline)
        return bytes(body)


class _SameServer(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the same server only: no other may get the token."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if _origin(urlsplit(newurl)) != _origin(urlsplit(req.full_url)):
            raise URLError(_OtherServerError())
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _OtherServerError(OSError):
    """A redirect to another server."""


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    port = url.port or {"https": 443}.get(url.scheme, 80)
    return url.scheme, url.hostname, port


def _seconds_left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise _deadline_error()
    return seconds


def _deadline_error() -> AudioError:
    return AudioError("deadline_passed", "the audio was not read before the deadline")
