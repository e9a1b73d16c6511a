"""The files of a request: a multipart form with one or many, or the bytes of one as the body."""

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from service.settings import Settings

_END_BYTES = 16  # enough for the end of a form and blank lines after it


class RequestError(Exception):
    """A request that cannot be answered; ``code`` is one of service.app.STATUS_BY_CODE."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


async def read_files(request: Request, settings: Settings) -> list[tuple[str, bytes]]:
    """(filename, bytes) of every file of a multipart request, or of the raw body."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > settings.max_request_bytes:
        raise _too_large(settings)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError("malformed_request", "compressed bodies are not accepted")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _read_multipart(request, settings)
    try:
        body = await _read_body(request, settings)
    except ClientDisconnect as error:
        raise RequestError("malformed_request", "the body ended early") from error
    return [("audio", body)]


async def _read_body(request: Request, settings: Settings) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > settings.max_upload_bytes:
            raise RequestError(
                "too_large", f"more than {settings.max_upload_bytes} bytes are not accepted"
            )
    return bytes(body)


async def _read_multipart(request: Request, settings: Settings) -> list[tuple[str, bytes]]:
    limited = _LimitedRequest(request, settings)
    try:
        form = await limited.form(max_files=settings.max_files, max_fields=settings.max_files)
    except HTTPException as error:
        too_many = "Too many" in str(error.detail)
        code = "too_many_files" if too_many else "malformed_request"
        raise RequestError(code, f"the form cannot be read: {error.detail}") from error
    except (MultiPartException, ClientDisconnect, UnicodeError) as error:
        raise RequestError("malformed_request", f"the form cannot be read: {error}") from error
    try:
        uploads = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        files = [(_printable(part.filename), await part.read()) for part in uploads]
    finally:
        await form.close()
    if not limited.ended():
        raise RequestError("malformed_request", "the form ends before its closing boundary")
    if not files:
        raise RequestError(
            "no_file", "the form holds no file; send one or more in the field 'file'"
        )
    return files


def _printable(filename: str | None) -> str:
    """A name that can be encoded: some charsets decode to halves of characters."""
    return (filename or "audio").encode("utf-8", "replace").decode()


class _LimitedRequest(Request):
    """The same request, refused while it streams when it grows past the limit."""

    def __init__(self, request: Request, settings: Settings) -> None:
        super().__init__(request.scope, self._receive_limited)
        self._whole, self._settings = request, settings
        self._received, self._end = 0, b""

    def ended(self) -> bool:
        """Whether the form, if it began, came to its end: two hyphens follow a closing boundary."""
        return not self._received or self._end.rstrip().endswith(b"--")

    async def _receive_limited(self) -> Any:
        message = await self._whole.receive()
        body = message.get("body", b"")
        self._received += len(body)
        if self._received > self._settings.max_request_bytes:
            raise _too_large(self._settings)
        self._end = (self._end + body[-_END_BYTES:])[-_END_BYTES:]
        return message


def _too_large(settings: Settings) -> RequestError:
    return RequestError(
        "too_large", f"a request of more than {settings.max_request_bytes} bytes is not accepted"
    )
