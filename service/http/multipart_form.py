"""The parts of a multipart form, collected from the parser's callbacks."""

from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

from earful.service.core.errors import RequestError
from earful.service.core.settings import SPOOL_BYTES, Settings
from earful.service.core.spooled_file import SpooledFile

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

UPLOAD_NAME = "audio"  # for files without a name
# Limits on the text fields of a form, for routes that read them.
MAX_FIELDS, MAX_FIELD_BYTES = 16, 16_384


class FormFile:
    """A file that arrives: its bytes in a buffer, after those in a temporary file if it is large.

    A file of more than ``max_bytes`` is cut just above: it fails, the other files do not.
    """

    __slots__ = ("buffer", "max_bytes", "name", "spooled")

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name, self.max_bytes = name, max_bytes
        self.buffer = bytearray()
        self.spooled: SpooledFile | None = None

    @property
    def n_bytes(self) -> int:
        return len(self.buffer) + (0 if self.spooled is None else self.spooled.n_bytes)


class Form:
    """Collects the files of a form from the parser, and its text fields if ``with_fields``."""

    def __init__(self, settings: Settings, with_fields: bool) -> None:
        self._settings, self._with_fields = settings, with_fields
        self._max_file_bytes = (
            settings.memory_limits().max_bytes if with_fields else settings.max_upload_bytes
        )
        self._parts = 0
        self._header: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._part: FormFile | None = None
        self.files: list[FormFile] = []
        self.large: list[FormFile] = []  # files with a buffer of more than SPOOL_BYTES
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
        self._header, self._part = {}, None

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
            name = printable_name(options[b"filename"])
            self._part = FormFile(name, self._max_file_bytes)
            self.files.append(self._part)
        elif self._with_fields:
            name_bytes = options.get(b"name", b"")
            if name_bytes in self.fields or len(self.fields) == MAX_FIELDS:
                raise RequestError(
                    "malformed_request", f"more than {MAX_FIELDS} fields, or a field twice"
                )
            self._part = FormFile("", MAX_FIELD_BYTES)
            self.fields[name_bytes] = self._part.buffer

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part is None or part.n_bytes > part.max_bytes:
            return
        part.buffer += memoryview(data)[start:end]
        if len(part.buffer) > SPOOL_BYTES and part not in self.large:
            self.large.append(part)

    def _on_end(self) -> None:
        self.is_complete = True


def printable_name(filename: bytes) -> str:
    return filename.decode("utf-8", "replace") or UPLOAD_NAME


def field_text(name: bytes, value: bytearray) -> str:
    if len(value) > MAX_FIELD_BYTES:
        raise RequestError("too_large", f"a field has more than {MAX_FIELD_BYTES} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        field_name = printable_name(name)[:40]
        raise RequestError("malformed_request", f"the field {field_name!r} is not UTF-8") from error
