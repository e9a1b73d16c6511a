"""A form that is one file is read in one step, and to the same files as by the parser."""

import pytest

from earful.service.core.errors import RequestError
from earful.service.http.multipart_form import Form, form_boundary, only_file

BOUNDARY = b"x-y"
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a b.wav"\r\n'
TYPE = b"Content-Type: audio/wav\r\n"
END = b"\r\n--x-y--\r\n"
ONE = b"--x-y\r\n" + DISPOSITION + TYPE + b"\r\n" + b"RIFF\x00\xff\r\n\r\n--x-" + END
FORMS = {
    "one file": ONE,
    "without a type": ONE.replace(TYPE, b""),
    "in small letters": ONE.replace(b"Content-D", b"content-d").replace(b"Content-T", b"content-t"),
    "no last line end": ONE.removesuffix(b"\r\n"),
    "behind the end": ONE + b"anything",
    "a form behind the end": ONE + ONE,
    "empty file": b"--x-y\r\n" + DISPOSITION + b"\r\n" + END,
    "no content at all": b"--x-y\r\n" + DISPOSITION + b"\r\n" + END[2:],
    "two files": ONE.removesuffix(b"--\r\n") + b"\r\n" + ONE,
    "no end": ONE.removesuffix(END),
    "cut in the end": ONE.removesuffix(b"-\r\n"),
    "boundary that goes on": ONE.replace(END, b"\r\n--x-y-z" + END),
    "no filename": ONE.replace(b'; filename="a b.wav"', b""),
    "empty filename": ONE.replace(b"a b.wav", b""),
    "path of Windows": ONE.replace(b"a b.wav", rb"C:\a b.wav"),
    "quote in the name": ONE.replace(b"a b.wav", rb"a\"b.wav"),
    "semicolon in the name": ONE.replace(b"a b.wav", b"a;b.wav"),
    "name in UTF-8": ONE.replace(b"a b.wav", "ü.wav".encode()),
    "extended name": ONE.replace(b'filename="a b.wav"', b"filename*=UTF-8''%C3%BC.wav"),
    "both names": ONE.replace(b'a b.wav"', b"a.wav\"; filename*=UTF-8''b.wav"),
    "another header": ONE.replace(TYPE, TYPE + b"Content-Length: 4\r\n"),
    "header twice": ONE.replace(TYPE, TYPE + TYPE),
    "name too long": ONE.replace(b"a b.wav", b"a" * 5_000),
    "bad header": ONE.replace(b"Content-Type:", b"Content Type:"),
    "preamble": b"preamble\r\n" + ONE,
    "bare line feeds": ONE.replace(b"\r\n", b"\n"),
}


def read(*chunks: bytes) -> list[tuple[str, bytes, bool]] | str:
    form = Form(BOUNDARY, 1, 1_000_000)
    try:
        for chunk in chunks:
            form.feed(chunk)
        form.finish()
    except RequestError as error:
        return error.code
    return [(file.name, bytes(file.buffer), file.is_complete) for file in form.files]


# Those that are read in one step.
SIMPLE = ("one file", "without a type", "in small letters", "no last line end", "empty file")


@pytest.mark.parametrize("name", FORMS)
def test_whole_form_is_read_as_in_pieces(name: str) -> None:
    body = FORMS[name]
    assert (only_file(BOUNDARY, body) is not None) == (name in SIMPLE)
    for cut in {1, 5, 60, len(body) // 2, len(body) - 1}:
        assert read(body) == read(body[:cut], body[cut:])


def test_one_file_is_read() -> None:
    assert read(ONE) == [("a b.wav", b"RIFF\x00\xff\r\n\r\n--x-", True)]
    assert read(ONE, b"anything") == read(ONE)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=x-y", b"x-y"),
        (b"multipart/form-data;boundary=x-y", b"x-y"),
        (b'Multipart/Form-Data; charset=utf-8; boundary="x y"', b"x y"),
    ],
)
def test_boundary_is_found(content_type: bytes, boundary: bytes) -> None:
    assert form_boundary(content_type) == boundary


@pytest.mark.parametrize(
    ("boundary", "reason"),
    [
        (b"", "names no boundary"),
        (b"; boundary=", "names no boundary"),
        (b"; boundary=" + b"b" * 257, "more than 256 bytes"),
    ],
)
def test_form_without_a_usable_boundary_is_refused(boundary: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        form_boundary(b"multipart/form-data" + boundary)
