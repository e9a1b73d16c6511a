"""Reads the files of a request: a multipart form with one or many, or the raw bytes of one.

Small files are read into memory, large ones into temporary files. Limits on a file, a request, all
requests together, and time are checked on the header and again while the body arrives.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Message

from earful.service.core.errors import RequestError
from earful.service.core.settings import SPOOL_BYTES, Settings
from earful.service.core.spooled_file import SpooledFile
from earful.service.http.multipart_form import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    UPLOAD_NAME,
    Form,
    FormFile,
    field_text,
    printable_name,
)

__all__ = ["UPLOAD_NAME", "Content", "RequestBody", "UploadBudget"]

# The bytes of a file, or the temporary file that holds them.
Content = bytes | SpooledFile


class UploadBudget:
    """Opens request bodies, and counts what all requests in progress hold.

    ``bytes_held`` are in memory, ``bytes_spooled`` in ``files_spooled`` temporary files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bytes_held = self.bytes_spooled = self.files_spooled = 0

    @contextmanager
    def open_body(self, request: Request, deadline: float) -> Iterator["RequestBody"]:
        """The body of a request; its bytes count, and its files exist, until the context ends."""
        body = RequestBody(request, self._settings, self, deadline)
        try:
            yield body
        finally:
            self.bytes_held -= body.n_received - body.n_spooled
            if body.spooled:
                body.close_spooled()

    @contextmanager
    def reserved(self, n_bytes: int) -> Iterator[None]:
        """Count bytes that a request got from elsewhere than its body, until the context ends.

        Raises:
            RequestError: ``queue_full``.
        """
        self.reserve(n_bytes)
        try:
            yield
        finally:
            self.bytes_held -= n_bytes

    def reserve(self, n_bytes: int) -> None:
        """Count bytes of a request.

        Raises:
            RequestError: ``queue_full`` when all requests together hold too many.
        """
        if self.bytes_held + n_bytes > self._settings.max_bytes_in_flight:
            raise RequestError(
                "queue_full", "too many uploads at once; try again in 1 s", {"Retry-After": "1"}
            )
        self.bytes_held += n_bytes

    def check_spool(self, n_bytes: int, files: int = 0) -> None:
        """Check that this many more bytes and files fit on the disk.

        Raises:
            RequestError: ``queue_full``.
        """
        settings = self._settings
        if (
            self.bytes_spooled + n_bytes > settings.max_spool_bytes
            or self.files_spooled + files > settings.max_queue
        ):
            raise RequestError(
                "queue_full",
                "too many large uploads at once; try again in 10 s",
                {"Retry-After": "10"},
            )


class RequestBody:
    """The body of one request; it must arrive by ``deadline``, a time of ``time.monotonic``."""

    def __init__(
        self, request: Request, settings: Settings, upload_budget: UploadBudget, deadline: float
    ) -> None:
        self._request, self._settings = request, settings
        self._budget, self._deadline = upload_budget, deadline
        self._headers: dict[bytes, bytes] = dict(request.scope["headers"])
        self.n_received = self.n_spooled = 0
        self.spooled: list[SpooledFile] = []

    async def files(self) -> list[tuple[str, Content]]:
        """(filename, content) of every file of a multipart request, or of the raw body.

        Raises:
            RequestError: the request is malformed, too large or too slow, or has no file; or there
                is no room for it.
        """
        if not self.is_form:
            return [(UPLOAD_NAME, await self._raw_file())]
        form = await self._form(with_fields=False, spool=True)
        if not form.files:
            raise RequestError(
                "no_file", "the form holds no file; send one or more in the field 'file'"
            )
        return [(file.name, await self._finished(file)) for file in form.files]

    def close_spooled(self) -> None:
        """Delete the temporary files."""
        self._budget.bytes_spooled -= self.n_spooled
        self._budget.files_spooled -= len(self.spooled)
        for file in self.spooled:
            file.close()

    @property
    def is_form(self) -> bool:
        """Whether this is a multipart form."""
        return self._headers.get(b"content-type", b"")[:19].lower() == b"multipart/form-data"

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON, which a page of another site cannot send."""
        content_type = self._headers.get(b"content-type", b"").partition(b";")[0]
        return content_type.strip().lower() == b"application/json"

    async def form(self) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
        """The files of a form, as from ``files``, and its text fields by name.

        Raises:
            RequestError: as from ``files``; or fields are too many, too long, repeated or not
                UTF-8.
        """
        form = await self._form(with_fields=True, spool=False)
        files = [(file.name, bytes(file.buffer)) for file in form.files]
        return files, {
            printable_name(name): field_text(name, value) for name, value in form.fields.items()
        }

    async def read_all(self, max_bytes: int) -> bytes:
        """The raw bytes of the body.

        Raises:
            RequestError: there are more than ``max_bytes``, or they do not arrive in time.
        """
        self._check_headers(max_bytes)
        chunks = [chunk async for chunk in self._chunks(max_bytes)]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _raw_file(self) -> Content:
        """The body as one file."""
        max_bytes = self._settings.max_upload_bytes
        self._check_headers(max_bytes)
        file = FormFile(UPLOAD_NAME, max_bytes)
        async for chunk in self._chunks(max_bytes):
            file.buffer += chunk
            if len(file.buffer) > SPOOL_BYTES:
                await self._spool(file)
        return await self._finished(file)

    async def _form(self, with_fields: bool, spool: bool) -> Form:
        max_bytes = (
            self._settings.max_request_bytes
            if spool
            else min(
                self._settings.max_request_bytes,
                self._settings.memory_limits().max_bytes + 2 * MAX_FIELDS * MAX_FIELD_BYTES,
            )
        )
        self._check_headers(max_bytes)
        _, options = parse_options_header(self._headers.get(b"content-type", b""))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise RequestError("malformed_request", "the form's content type names no boundary")
        form = Form(self._settings, with_fields)
        try:
            parser = MultipartParser(boundary, form.callbacks())
            async for chunk in self._chunks(max_bytes):
                parser.write(chunk)
                if spool and form.large:
                    for file in form.large:
                        await self._spool(file)
                    form.large.clear()
        except FormParserError as error:
            raise RequestError("malformed_request", f"the form cannot be read: {error}") from error
        if self.n_received and not form.is_complete:
            raise RequestError("malformed_request", "the form ends before its closing boundary")
        return form

    async def _spool(self, file: "FormFile") -> None:
        """Move the buffered bytes of a file to its temporary file."""
        chunk, file.buffer = file.buffer, bytearray()
        self._budget.check_spool(len(chunk), files=file.spooled is None)
        # Counted first: while the thread writes, other requests start.
        self._budget.bytes_spooled += len(chunk)
        self._budget.bytes_held -= len(chunk)
        self.n_spooled += len(chunk)
        if file.spooled is None:
            file.spooled = SpooledFile()
            self._budget.files_spooled += 1
            self.spooled.append(file.spooled)
        await asyncio.to_thread(file.spooled.append, chunk)

    async def _finished(self, file: "FormFile") -> Content:
        if file.spooled is None:
            return bytes(file.buffer)
        if file.buffer:
            await self._spool(file)
        return file.spooled

    def _check_headers(self, max_bytes: int) -> None:
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError("malformed_request", "compressed bodies are not accepted")
        declared = self._headers.get(b"content-length", b"")
        if not declared.isdigit():
            return
        n_bytes = int(declared)
        if n_bytes > max_bytes:
            raise _too_large(max_bytes)
        # Refused now rather than after most of it was sent.
        in_memory = (self._settings.max_files if self.is_form else 1) * SPOOL_BYTES
        if n_bytes > in_memory:
            self._budget.check_spool(n_bytes - in_memory, files=1)

    async def _chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RequestError("malformed_request", "the body ended early")
            chunk: bytes = message.get("body", b"")
            if self.n_received + len(chunk) > max_bytes:
                raise _too_large(max_bytes)
            self._budget.reserve(len(chunk))
            self.n_received += len(chunk)
            if chunk:
                yield chunk
            more = message.get("more_body", False)

    async def _receive(self) -> Message:
        try:
            deadline = self._deadline + self._extra_seconds() if self.n_spooled else self._deadline
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._request.receive()
        except TimeoutError as error:
            rate = self._settings.min_upload_bytes_per_second
            raise RequestError(
                "too_slow",
                f"the body did not arrive within {self._settings.deadline_seconds:g} s, or at "
                f"{rate} bytes/s if it is large",
                {"Connection": "close"},
            ) from error

    def _extra_seconds(self) -> float:
        """How much longer a large body may take than a small one, for what has arrived of it."""
        return self.n_spooled / self._settings.min_upload_bytes_per_second


def _too_large(max_bytes: int) -> RequestError:
    return RequestError("too_large", f"at most {max_bytes} bytes are accepted")
