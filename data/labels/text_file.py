"""The encoding of a text file, found by its content: UTF-8, UTF-16, or Windows-1252."""

import codecs
import re
from pathlib import Path

from earful.data.errors import EarfulError, did_you_mean_path
from earful.data.labels.wrong_path import describe_wrong_path

_BLOCK_BYTES = 1 << 20
_PROBE_BYTES = 1 << 12
_ADVICE = "save it as CSV UTF-8"
# Words of Western languages have at most two letters in a row that are not ASCII; text of another
# code page (Cyrillic, Greek) is full of them.
_NOT_WESTERN = re.compile(r"[^\W\d_a-zA-Z]{3}")


class LabelsError(EarfulError):
    """The CSV itself cannot be used; bad rows are ``ClipProblem`` instead."""


def find_encoding(path: Path) -> tuple[str, str]:
    """The encoding of a text file, and a note if it was guessed; reads it once, block by block.

    Raises:
        LabelsError: no file, or no text in an encoding that is certain enough.
    """
    found_instead = describe_wrong_path(path)
    if found_instead:
        raise LabelsError(found_instead)
    try:
        with path.open("rb") as file:
            head = file.read(_PROBE_BYTES)
        utf_16 = _find_utf_16(head)
        if utf_16:
            return utf_16, ""
        position = _first_utf_8_error(path)
    except OSError as error:
        hint = did_you_mean_path(path)
        raise LabelsError(f"cannot read {path}: {error.strerror}{hint}") from error
    if position is None:
        return "utf-8-sig", ""
    return "cp1252", _check_western(path, position)


def _find_utf_16(head: bytes) -> str:
    """UTF-16 by its byte order mark, or by the zero in every other byte of ASCII; else empty."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) < 4 or b"\0" not in head:
        return ""
    for name, zeros, others in (
        ("utf-16-le", head[1::2], head[::2]),
        ("utf-16-be", head[::2], head[1::2]),
    ):
        if zeros.count(0) > 0.7 * len(zeros) and 0 not in others:
            return name
    return ""


def _first_utf_8_error(path: Path) -> int | None:
    """The position of the first byte that is not UTF-8; None if there is none.

    Raises:
        LabelsError: a zero byte, which no text has.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if b"\0" in block:
                raise LabelsError(f"{path} contains NUL bytes and is not a CSV; {_ADVICE}")
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return position - pending + error.start
            position += len(block)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return position - len(decoder.getstate()[0])
    return None


def _check_western(path: Path, position: int) -> str:
    """The note on text that is read as Windows-1252.

    Raises:
        LabelsError: it is damaged UTF-8, or of another code page.
    """
    blob = path.read_bytes()
    bad_byte = f"{path} is not UTF-8 text (byte {position})"
    valid = blob.decode("utf-8", "replace").replace("\ufffd", "")
    try:
        text = blob.decode("cp1252")
    except UnicodeDecodeError as error:
        raise LabelsError(f"{bad_byte}; {_ADVICE}") from error
    if not valid.isascii():  # other letters are UTF-8: a damaged file
        raise LabelsError(f"{bad_byte}, though other letters of it are; {_ADVICE}")
    if _NOT_WESTERN.search(text) or any(ord(c) < 32 and c not in "\t\r\n\f\v" for c in text):
        raise LabelsError(f"{bad_byte}, and its code page is not known; {_ADVICE}")
    return (
        f"{path.name} is not UTF-8 and was read as Windows-1252; if letters look wrong, {_ADVICE}"
    )
