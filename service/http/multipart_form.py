"""The files and text fields of a body, collected while it arrives."""

import re
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from earful.service.core.arriving_file import ArrivingFile
from earful.service.core.errors import RequestError, malformed
from earful.service.core.settings import SPOOL_BYTES

UPLOAD_NAME = "audio"  # for files without a name
# Limits on the text fields of a form, for routes that read them.
MAX_FIELDS, MAX_FIELD_BYTES = 16, 16_384
# RFC 5987, section 3.2. RFC 7578 forbids it in forms, and clients write it.
_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*\"?([\w-]+)'[\w-]*'([^;\s\"]*)", re.IGNORECASE)
# Of a form that is one file, as nearly all clients write it: its name, then its content.
_ONE_FILE_HEAD = re.compile(
    rb'content-disposition: form-data; name="[\w.-]{1,64}"; filename="([\w .()-]{1,255})"\r\n'
    rb"(?:content-type: [\w/+.-]{1,128}\r\n)?\r\n",
    re.IGNORECASE,
)
_MAX_BOUNDARY_BYTES = 256  # as in the parser
_SIMPLE_TYPE = re.compile(rb"multipart/form-data; ?boundary=([\w-]{1,70})")
# Enough to tell a file as text by, as apps and gateways send it; no recording starts so.
_TEXT_HEAD_BYTES = 64
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]{40,}={0,2}\s*")


class Parts:
    """The files of a body; ``ready`` are those that a sink may write.

    That are large ones, and with ``store_all`` each one at its end.
    """

    def __init__(self, max_file_bytes: int, store_all: bool) -> None:
        self._max_file_bytes, self._store_all = max_file_bytes, store_all
        self.files: list[ArrivingFile] = []
        self.ready: list[ArrivingFile] = []

    def _begin(self, name: str) -> ArrivingFile:
        file = ArrivingFile(name, self._max_file_bytes)
        self.files.append(file)
        return file

    def _add(self, file: ArrivingFile, data: bytes | memoryview) -> None:
        buffer = file.buffer
        if file.n_stored + len(buffer) > file.max_bytes:
            return
        buffer += data
        if len(buffer) > SPOOL_BYTES or file.n_bytes > file.max_bytes:
            self._mark_ready(file)

    def _end(self, file: ArrivingFile) -> None:
        file.is_complete = True
        if file.n_stored or self._store_all:
            self._mark_ready(file)

    def _mark_ready(self, file: ArrivingFile) -> None:
        if not self.ready or self.ready[-1] is not file:
            self.ready.append(file)


class RawBody(Parts):
    """A body that is one file."""

    def __init__(self, max_file_bytes: int, store_all: bool) -> None:
        super().__init__(max_file_bytes, store_all)
        self._file = self._begin(UPLOAD_NAME)
        self._head = b""

    def feed(self, chunk: bytes) -> None:
        """Collect the next bytes of the body.

        Raises:
            RequestError: ``unsupported_format``, the body is text.
        """
        if len(self._head) < _TEXT_HEAD_BYTES:
            self._head += chunk[: _TEXT_HEAD_BYTES - len(self._head)]
            if len(self._head) == _TEXT_HEAD_BYTES:
                _refuse_text(self._head)
        self._add(self._file, chunk)

    def finish(self) -> None:
        """The body has ended.

        Raises:
            RequestError: ``unsupported_format``, the body is text.
        """
        if len(self._head) < _TEXT_HEAD_BYTES:
            _refuse_text(self._head)
        self._end(self._file)


class Form(Parts):
    """A multipart form of files, and of text fields if ``with_fields``."""

    def __init__(
        self,
        boundary: bytes,
        max_parts: int,
        max_file_bytes: int,
        *,
        with_fields: bool = False,
        store_all: bool = False,
    ) -> None:
        super().__init__(max_file_bytes, store_all)
        self._boundary, self._max_parts, self._with_fields = boundary, max_parts, with_fields
        self._n_parts = 0
        self._header: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._part: ArrivingFile | None = None
        self._is_empty, self._is_complete = True, False
        self.fields: dict[bytes, bytearray] = {}
        self._parser: MultipartParser | None = None

    def feed(self, chunk: bytes) -> None:
        """Collect the next bytes of the body.

        Raises:
            RequestError: ``malformed_request``, ``too_many_files``.
        """
        if self._is_empty and (only := only_file(self._boundary, chunk)):
            name, content = only
            self._part = self._begin(printable_name(name))
            self._add(self._part, content)
            self._on_end()
        self._is_empty = False
        if self._is_complete:  # what follows is no part of the form
            return
        try:
            self._parser = self._parser or self._open_parser()
            self._parser.write(chunk)
        except FormParserError as error:
            raise malformed(f"the form cannot be read: {error}") from error

    def finish(self) -> None:
        """The body has ended.

        Raises:
            RequestError: ``malformed_request``: the form has not.
        """
        if not self._is_empty and not self._is_complete:
            raise malformed("the form ends before its closing boundary")

    def _open_parser(self) -> MultipartParser:
        return MultipartParser(
            self._boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_end": self._on_end,
            },
        )

    def _on_part_begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._max_parts:
            raise RequestError(
                "too_many_files",
                f"more than {self._max_parts} parts in one form; split it into several",
            )
        self._end_part()
        self._header = {}

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._header[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        disposition = self._header.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        filename = options.get(b"filename", _extended_filename(disposition))
        if filename is not None:
            self._part = self._begin(printable_name(filename))
        elif self._with_fields:
            name_bytes = options.get(b"name", b"")
            if name_bytes in self.fields or len(self.fields) == MAX_FIELDS:
                raise malformed(f"more than {MAX_FIELDS} fields, or a field twice")
            self._part = ArrivingFile("", MAX_FIELD_BYTES)
            self.fields[name_bytes] = self._part.buffer

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._add(self._part, memoryview(data)[start:end])

    def _on_end(self) -> None:
        self._end_part()
        self._is_complete = True

    def _end_part(self) -> None:
        if self._part is not None:
            self._end(self._part)
            self._part = None


def form_boundary(content_type: bytes) -> bytes:
    """The boundary in the content type of a form.

    Raises:
        RequestError: ``malformed_request``, there is none, or it is too long.
    """
    simple = _SIMPLE_TYPE.fullmatch(content_type)  # as most clients write it
    boundary = simple[1] if simple else parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise malformed("the form's content type names no boundary")
    if len(boundary) > _MAX_BOUNDARY_BYTES:
        raise malformed(f"the form's boundary has more than {_MAX_BOUNDARY_BYTES} bytes")
    return boundary


def only_file(boundary: bytes, body: bytes) -> tuple[bytes, memoryview] | None:
    """Name and content of a form that is one file and all in ``body``; None of any other form.

    Most uploads are such, and the parser reads their headers byte by byte.
    """
    opening, delimiter = b"--" + boundary + b"\r\n", b"\r\n--" + boundary
    head = _ONE_FILE_HEAD.match(body, len(opening)) if body.startswith(opening) else None
    if head is None:
        return None
    end = body.find(delimiter, head.end())
    if end < 0 or body[end + len(delimiter) :] not in (b"--", b"--\r\n"):
        return None
    return head[1], memoryview(body)[head.end() : end]


def _extended_filename(disposition: bytes) -> bytes | None:
    """The name in ``filename*`` as UTF-8, empty in an unknown encoding; None without one."""
    found = _EXTENDED_NAME.search(disposition)
    if found is None:
        return None
    try:
        name = unquote(found[2].decode("latin-1"), found[1].decode("ascii"), "replace")
    except LookupError:
        return b""
    return name.encode("utf-8", "replace")


def printable_name(filename: bytes) -> str:
    return filename.decode("utf-8", "replace") or UPLOAD_NAME


def field_text(name: bytes, value: bytearray) -> str:
    if len(value) > MAX_FIELD_BYTES:
        raise RequestError("too_large", f"a field has more than {MAX_FIELD_BYTES} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        field_name = printable_name(name)[:40]
        raise malformed(f"the field {field_name!r} is not UTF-8") from error


def _refuse_text(head: bytes) -> None:
    """Refuse a body of which the first bytes are JSON, a data URL or base64."""
    if kind := _text_kind(head.lstrip()):
        raise RequestError(
            "unsupported_format",
            f"the body is {kind}, not a file; send the bytes of the file "
            "(curl --data-binary @a.wav) or a form (curl -F file=@a.wav)",
        )


def _text_kind(head: bytes) -> str:
    if head[:1] in (b"{", b"[", b'"'):
        return "JSON"
    if head[:5].lower() == b"data:":
        return "a data URL"
    return "base64" if _BASE64.fullmatch(head[:_TEXT_HEAD_BYTES]) else ""
