"""Reads the body of a request: a multipart form with one or many files, or the raw bytes of one.

    chunks -> RawBody or Form -> ArrivingFile -> FileSink: temporary files, or the folder of a job

Limits on a file, a request, all requests together, and time are checked on the header and again
while the body arrives.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Self, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import Message

from earful.data.text.json_input import parse_json
from earful.service.core.arriving_file import ArrivingFile, FileSink
from earful.service.core.errors import RequestError, malformed, too_large
from earful.service.core.settings import SPOOL_BYTES, Settings
from earful.service.http.multipart_form import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    Form,
    RawBody,
    field_text,
    form_boundary,
    printable_name,
)
from earful.service.http.upload_budget import Content, TemporaryFiles, UploadBudget

# Of a body of JSON that carries no audio.
MAX_JSON_BYTES = 16_384
T = TypeVar("T")


def parse_body(kind: type[T], content: bytes) -> T:
    """The value of a type in a body, or part of one, that is JSON.

    Raises:
        RequestError: ``malformed_request``.
    """
    try:
        return parse_json(kind, content)
    except ValueError as error:
        raise malformed(str(error)) from error


class RequestBody:
    """The body of one request; it must arrive by ``deadline``, a time of ``time.monotonic``.

    Of ``n_received`` bytes ``n_stored`` are on a disk, which gives more time. The bytes count, and
    temporary files exist, until the context ends.
    """

    def __init__(
        self, request: Request, settings: Settings, budget: UploadBudget, deadline: float
    ) -> None:
        self._request, self._settings = request, settings
        self._budget, self._deadline = budget, deadline
        self._headers: dict[bytes, bytes] = dict(request.scope["headers"])
        self._content_type = self._headers.get(b"content-type", b"")
        self.is_form = self._content_type[:19].lower() == b"multipart/form-data"
        declared = self._headers.get(b"content-length", b"")
        # 0 if the header does not say.
        self.declared_bytes = int(declared) if declared.isdigit() and len(declared) < 20 else 0
        self.n_received = self.n_stored = 0
        self.temporary_files = TemporaryFiles(budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.bytes_held -= self.n_received - self.n_stored
        self.temporary_files.close()

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON, which a page of another site cannot send."""
        return self._content_type.partition(b";")[0].strip().lower() == b"application/json"

    async def read_upload(self) -> list[tuple[str, Content]]:
        """(filename, content) of every file of a multipart request, or of the raw body.

        Raises:
            RequestError: the request is malformed, too large or too slow, or has no file; or there
                is no room for it.
        """
        settings = self._settings
        max_bytes = settings.max_request_bytes if self.is_form else settings.max_upload_bytes
        self.check_headers(max_bytes)
        # Refused now rather than after most of it was sent.
        in_memory = (settings.max_files if self.is_form else 1) * SPOOL_BYTES
        if self.declared_bytes > in_memory:
            self._budget.check_spool(self.declared_bytes - in_memory, files=1)
        sink = self.temporary_files
        files = await self.write_to(sink, max_bytes, settings.max_upload_bytes)
        return [(file.name, sink.content(file)) for file in files]

    async def write_to(
        self, sink: FileSink, max_bytes: int, max_file_bytes: int
    ) -> list[ArrivingFile]:
        """Write every file to ``sink`` as it arrives; ``check_headers`` was called before.

        Raises:
            RequestError: as from ``read_upload``.
        """
        parts = (
            self._form(max_file_bytes, store_all=sink.store_all)
            if self.is_form
            else RawBody(max_file_bytes, sink.store_all)
        )
        async for chunk in self._chunks(max_bytes):
            parts.feed(chunk)
            if parts.ready:
                await self._store(parts.ready, sink)
        parts.finish()
        if parts.ready:
            await self._store(parts.ready, sink)
        if not parts.files:
            raise RequestError(
                "no_file", "the form holds no file; send one or more in the field 'file'"
            )
        return parts.files

    async def form(self) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
        """The files of a form, as from ``read_upload``, and its text fields by name.

        Raises:
            RequestError: as from ``read_upload``; or fields are too many, too long, repeated or not
                UTF-8.
        """
        max_file_bytes = self._settings.memory_limits().max_bytes
        max_bytes = min(
            self._settings.max_request_bytes, max_file_bytes + 2 * MAX_FIELDS * MAX_FIELD_BYTES
        )
        self.check_headers(max_bytes)
        form = self._form(max_file_bytes, with_fields=True)
        async for chunk in self._chunks(max_bytes):
            form.feed(chunk)
        form.finish()
        files = [(file.name, bytes(file.buffer)) for file in form.files]
        return files, {
            printable_name(name): field_text(name, value) for name, value in form.fields.items()
        }

    async def read_all(self, max_bytes: int) -> bytes:
        """The raw bytes of the body.

        Raises:
            RequestError: there are more than ``max_bytes``, or they do not arrive in time.
        """
        self.check_headers(max_bytes)
        chunks = [chunk async for chunk in self._chunks(max_bytes)]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def read_json(self, kind: type[T], max_bytes: int = MAX_JSON_BYTES) -> T:
        """The body as a type of JSON, parsed on another thread: it may be long.

        Raises:
            RequestError: as from ``read_all`` and ``parse_body``.
        """
        return await run_in_threadpool(parse_body, kind, await self.read_all(max_bytes))

    def check_headers(self, max_bytes: int) -> None:
        """Refuse a body that can be told to be unacceptable before it arrives.

        Raises:
            RequestError: ``malformed_request`` or ``too_large``.
        """
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise malformed("compressed bodies are not accepted")
        if self.declared_bytes > max_bytes:
            raise too_large(max_bytes)

    def _form(
        self, max_file_bytes: int, *, with_fields: bool = False, store_all: bool = False
    ) -> Form:
        return Form(
            form_boundary(self._content_type),
            self._settings.max_files,
            max_file_bytes,
            with_fields=with_fields,
            store_all=store_all,
        )

    async def _store(self, files: list[ArrivingFile], sink: FileSink) -> None:
        for file in files:
            n_before = file.n_stored
            await sink.write(file)
            n_stored = file.n_stored - n_before
            self.n_stored += n_stored
            self._budget.bytes_held -= n_stored
        files.clear()

    async def _chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise malformed("the body ended early")
            chunk: bytes = message.get("body", b"")
            if self.n_received + len(chunk) > max_bytes:
                raise too_large(max_bytes)
            self._budget.reserve(len(chunk))
            self.n_received += len(chunk)
            if chunk:
                yield chunk
            more = message.get("more_body", False)

    async def _receive(self) -> Message:
        settings = self._settings
        seconds = self._deadline - time.monotonic()
        if self.n_stored:
            seconds += self.n_stored / settings.min_upload_bytes_per_second
            seconds = min(seconds, settings.deadline_seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._request.receive()
        except TimeoutError as error:
            raise RequestError(
                "too_slow",
                f"the body did not arrive within {settings.deadline_seconds:g} s, or at "
                f"{settings.min_upload_bytes_per_second} bytes/s if it is large",
                {"Connection": "close"},
            ) from error
