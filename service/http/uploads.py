"""Reads the files of a request: a multipart form with one or many, or the raw bytes of one.

Files are read into memory. Limits on a file, a request, all requests together, and time are checked
on the header and again while the body arrives.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Message

from earful.service.core.errors import RequestError
from earful.service.core.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

UPLOAD_NAME = "audio"  # for files without a name
# Limits on the text fields of a form, for routes that read them.
MAX_FIELDS, MAX_FIELD_BYTES = 16, 16_384


class UploadBudget:
    """Opens request bodies; ``bytes_held`` is the total of all requests in progress."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bytes_held = 0

    @contextmanager
    def open_body(self, request: Request, deadline: float) -> Iterator["RequestBody"]:
        """The body of a request; its bytes count until the context ends."""
        body = RequestBody(request, self._settings, self, deadline)
        try:
            yield body
        finally:
            self.bytes_held -= body.n_received

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


class RequestBody:
    """The body of one request; it must arrive by ``deadline``, a time of ``time.monotonic``."""

    def __init__(
        self, request: Request, settings: Settings, upload_budget: UploadBudget, deadline: float
    ) -> None:
        self._request, self._settings = request, settings
        self._budget, self._deadline = upload_budget, deadline
        self._headers: dict[bytes, bytes] = dict(request.scope["headers"])
        self.n_received = 0

    async def files(self) -> list[tuple[str, bytes]]:
        """(filename, bytes) of every file of a multipart request, or of the raw body.

        Raises:
            RequestError: the request is malformed, too large or too slow, or has no file.
        """
        if not self.is_form:
            return [(UPLOAD_NAME, await self.read_all(self._settings.max_upload_bytes))]
        form = await self._form(with_fields=False)
        if not form.files:
            raise RequestError(
                "no_file", "the form holds no file; send one or more in the field 'file'"
            )
        return [(name, bytes(content)) for name, content in form.files]

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
        form = await self._form(with_fields=True)
        files = [(name, bytes(content)) for name, content in form.files]
        return files, {_printable(name): _text(name, value) for name, value in form.fields.items()}

    async def read_all(self, max_bytes: int) -> bytes:
        """The raw bytes of the body.

        Raises:
            RequestError: there are more than ``max_bytes``, or they do not arrive in time.
        """
        self._check_headers(max_bytes)
        chunks = [chunk async for chunk in self._chunks(max_bytes)]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _form(self, with_fields: bool) -> "_Form":
        self._check_headers(self._settings.max_request_bytes)
        _, options = parse_options_header(self._headers.get(b"content-type", b""))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise RequestError("malformed_request", "the form's content type names no boundary")
        form = _Form(self._settings, with_fields)
        try:
            parser = MultipartParser(boundary, form.callbacks())
            async for chunk in self._chunks(self._settings.max_request_bytes):
                parser.write(chunk)
        except FormParserError as error:
            raise RequestError("malformed_request", f"the form cannot be read: {error}") from error
        if self.n_received and not form.is_complete:
            raise RequestError("malformed_request", "the form ends before its closing boundary")
        return form

    def _check_headers(self, max_bytes: int) -> None:
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError("malformed_request", "compressed bodies are not accepted")
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > max_bytes:
            raise _too_large(max_bytes)

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
            async with asyncio.timeout(self._deadline - time.monotonic()):
                return await self._request.receive()
        except TimeoutError as error:
            raise RequestError(
                "too_slow",
                f"the body did not arrive within {self._settings.deadline_seconds:g} s",
                {"Connection": "close"},
            ) from error


class _Form:
    """Collects the files of a form from the parser, and its text fields if ``with_fields``."""

    def __init__(self, settings: Settings, with_fields: bool) -> None:
        self._settings, self._with_fields = settings, with_fields
        self._parts = 0
        self._header: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._content: bytearray | None = None
        self._max_bytes = 0
        self.files: list[tuple[str, bytearray]] = []
        self.fields: dict[bytes, bytearray] = {}
        self.is_complete = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._settings.max_files:
            raise RequestError(
                "too_many_files",
                f"more than {self._settings.max_files} parts in one form; split it into several",
            )
        self._header, self._content = {}, None

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
            self._content, self._max_bytes = bytearray(), self._settings.max_upload_bytes
            self.files.append((_printable(options[b"filename"]), self._content))
        elif self._with_fields:
            self._content, self._max_bytes = bytearray(), MAX_FIELD_BYTES
            name = options.get(b"name", b"")
            if name in self.fields or len(self.fields) == MAX_FIELDS:
                raise RequestError(
                    "malformed_request", f"more than {MAX_FIELDS} fields, or a field twice"
                )
            self.fields[name] = self._content

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        # A file that is too large is cut just above the limit: it fails, the other files do not.
        if self._content is not None and len(self._content) <= self._max_bytes:
            self._content += memoryview(data)[start:end]

    def _on_end(self) -> None:
        self.is_complete = True


def _printable(filename: bytes) -> str:
    return filename.decode("utf-8", "replace") or UPLOAD_NAME


def _text(name: bytes, value: bytearray) -> str:
    if len(value) > MAX_FIELD_BYTES:
        raise RequestError("too_large", f"a field has more than {MAX_FIELD_BYTES} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        field_name = _printable(name)[:40]
        raise RequestError("malformed_request", f"the field {field_name!r} is not UTF-8") from error


def _too_large(max_bytes: int) -> RequestError:
    return RequestError("too_large", f"at most {max_bytes} bytes are accepted")
