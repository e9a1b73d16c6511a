"""Writes the files of a request to disk as they arrive: a multipart form, or one raw body.

A slow upload may take long, but it must go on: each piece has to arrive within the deadline of a
request, and all of it at a minimum rate.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Message

from earful.service.core.errors import RequestError
from earful.service.core.settings import Settings
from earful.service.http.uploads import UPLOAD_NAME
from earful.service.jobs.spool import Spool

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# Bytes that are handed to the writing thread at a time.
_PIECE_BYTES = 1 << 20
MIN_BYTES_PER_SECOND = 10_000


class SpooledBody:
    """The body of one request."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request, self._settings = request, settings
        self._started = time.monotonic()
        self.n_received = 0

    @property
    def declared_bytes(self) -> int:
        """Length of the body by its header; 0 if it does not say."""
        declared = self._request.headers.get("content-length", "")
        return int(declared) if declared.isdecimal() and len(declared) < 20 else 0

    def check_headers(self) -> None:
        """Refuse a body that can be told to be unacceptable before it arrives.

        Raises:
            RequestError: ``malformed_request`` or ``too_large``.
        """
        if self._request.headers.get("content-encoding", "identity") != "identity":
            raise RequestError("malformed_request", "compressed bodies are not accepted")
        if not self._is_form and self.declared_bytes > self._settings.max_job_upload_bytes:
            raise _too_large(self._settings.max_job_upload_bytes)
        if self.declared_bytes > self._settings.max_jobs_bytes:
            raise _too_large(self._settings.max_jobs_bytes)

    async def write_to(self, spool: Spool, before_piece: Callable[[int], Awaitable[None]]) -> None:
        """Write all files; ``before_piece`` is awaited with the bytes received so far.

        Raises:
            RequestError: the body is malformed, too large or too slow, ends early or has no file.
            OSError: a file cannot be written.
        """
        write = _FormWriter(spool, self._settings, self._boundary()) if self._is_form else None
        limit = self._settings.max_job_upload_bytes
        if write is None:
            await asyncio.to_thread(spool.begin_file, UPLOAD_NAME)
        async for piece in self._pieces():
            await before_piece(self.n_received)
            if write is None:
                _check_size(spool.n_bytes + len(piece), limit)
                await asyncio.to_thread(spool.write, piece)
            else:
                await asyncio.to_thread(write.feed, piece)
        if write is not None:
            write.check_complete()
        await asyncio.to_thread(spool.end_file)
        if not spool.uploads:
            raise RequestError(
                "no_file", "the form holds no file; send one or more in the field 'file'"
            )

    @property
    def _is_form(self) -> bool:
        content_type = self._request.headers.get("content-type", "")
        return content_type[:19].lower() == "multipart/form-data"

    def _boundary(self) -> bytes:
        _, options = parse_options_header(self._request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise RequestError("malformed_request", "the form's content type names no boundary")
        return boundary

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces of about ``_PIECE_BYTES``; a slow one comes in smaller pieces."""
        parts: list[bytes] = []
        n_bytes, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RequestError("malformed_request", "the body ended early")
            parts.append(message.get("body", b""))
            n_bytes += len(parts[-1])
            more = message.get("more_body", False)
            if n_bytes and (n_bytes >= _PIECE_BYTES or not more):
                self.n_received += n_bytes
                yield b"".join(parts)
                parts, n_bytes = [], 0

    async def _receive(self) -> Message:
        deadline_seconds = self._settings.deadline_seconds
        earned_seconds = self.n_received / MIN_BYTES_PER_SECOND
        left_seconds = self._started + deadline_seconds + earned_seconds - time.monotonic()
        try:
            async with asyncio.timeout(min(deadline_seconds, left_seconds)):
                return await self._request.receive()
        except TimeoutError as error:
            raise RequestError(
                "too_slow",
                f"nothing arrived for {deadline_seconds:g} s, or less than "
                f"{MIN_BYTES_PER_SECOND} bytes a second",
                {"Connection": "close"},
            ) from error


class _FormWriter:
    """Writes the files of a form to a spool; text fields are ignored. Calls block."""

    def __init__(self, spool: Spool, settings: Settings, boundary: bytes) -> None:
        self._spool, self._settings = spool, settings
        self._n_parts = 0
        self._header: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._in_file = self._is_complete = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, piece: bytes) -> None:
        """Write what a piece of the form holds of files."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(error) from error

    def check_complete(self) -> None:
        """Raise ``malformed_request`` if the form has not ended."""
        if not self._is_complete:
            raise RequestError("malformed_request", "the form ends before its closing boundary")

    def _on_part_begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._settings.max_files:
            raise RequestError(
                "too_many_files",
                f"more than {self._settings.max_files} parts in one form; split it into several",
            )
        self._header, self._in_file = {}, False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._header[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._header.get(b"content-disposition", b""))
        if b"filename" in options:
            filename = options[b"filename"].decode("utf-8", "replace") or UPLOAD_NAME
            self._spool.begin_file(filename.replace("\0", ""))
            self._in_file = True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            _check_size(self._spool.n_bytes + end - start, self._settings.max_job_upload_bytes)
            self._spool.write(memoryview(data)[start:end])

    def _on_end(self) -> None:
        self._is_complete = True


def _check_size(n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise _too_large(max_bytes)


def _malformed(error: FormParserError) -> RequestError:
    return RequestError("malformed_request", f"the form cannot be read: {error}")


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(
        "too_large", f"at most {max_bytes} bytes are accepted", {"Connection": "close"}
    )
