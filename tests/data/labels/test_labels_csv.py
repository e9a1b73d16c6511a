"""The labels CSV: all accepted headers and dialects, and all bad rows reported."""

from pathlib import Path

import pytest

from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.multilabel import sort_labels
from earful.data.labels.text_file import LabelsError


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


NO_LABEL = "column label, value ''"


def problems(path: Path) -> list[tuple[int, str]]:
    """The line of each problem, and the column and the value that it names."""
    return [(p.line, p.message.partition(": ")[0]) for p in read_labels(path).problems]


@pytest.mark.parametrize("filename", ["filename", "file", "path", "file_name", " FileName "])
@pytest.mark.parametrize("label", ["label", "digit", "class", "class_label"])
@pytest.mark.parametrize("speaker", ["speaker", "group", "speaker_id"])
def test_every_header_spelling_reads_the_same(
    csv_path: Path, filename: str, label: str, speaker: str
) -> None:
    write(csv_path, f"{speaker},{filename},note,{label}\nann,a.wav,loud,7\n")
    expected = Clip(2, "a.wav", csv_path.parent / "a.wav", "7", "ann")
    assert read_labels(csv_path).clips == (expected,)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_dialect_reads_the_same(
    csv_path: Path, bom: bytes, delimiter: str, newline: str
) -> None:
    lines = ["filename,label,split,start,end", "a.wav,yes,train,0.5,1.25", "ü.wav,no,TEST,,"]
    text = newline.join(lines).replace(",", delimiter)
    write(csv_path, bom + text.encode())
    first, second = read_labels(csv_path).clips
    assert (first.label, first.split, first.start_seconds, first.end_seconds) == (
        "yes",
        "train",
        0.5,
        1.25,
    )
    assert (second.line, second.filename, second.split) == (3, "ü.wav", "test")
    assert second.start_seconds is second.end_seconds is None


def test_row_is_reported_by_its_first_line(csv_path: Path) -> None:
    write(csv_path, '\nfilename,label,note\n\na.wav,x,"two\nlines"\nb.wav,,\n"c\n.wav",,\n')
    assert [clip.line for clip in read_labels(csv_path).clips] == [4]
    assert problems(csv_path) == [(6, NO_LABEL), (7, NO_LABEL)]


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_end_a_row(csv_path: Path, character: str) -> None:
    write(csv_path, f"filename,label,note\na{character}b.wav,x,y{character}z\nc.wav,,\n")
    (clip,) = read_labels(csv_path).clips
    assert clip.filename == f"a{character}b.wav"
    assert problems(csv_path) == [(3, NO_LABEL)]


def test_quoted_cells_hold_delimiters_and_quotes(csv_path: Path) -> None:
    write(csv_path, 'filename,label\n"a, ""b"".wav",x\n')
    assert read_labels(csv_path).clips[0].filename == 'a, "b".wav'


@pytest.mark.parametrize("label", ["007", "NA", "null", "1e3", "#", "=1+1", "一"])
def test_labels_are_read_verbatim(csv_path: Path, label: str) -> None:
    write(csv_path, f"filename,label\na.wav,{label}\n")
    assert read_labels(csv_path).clips[0].label == label


@pytest.mark.parametrize(
    "ordered",
    [["2", "10"], ["b2", "b10"], ["0", "00", "7", "a"], ["take 9a", "take 9b", "take 10a"]],
)
def test_labels_are_sorted_in_natural_order(ordered: list[str]) -> None:
    assert sort_labels([*reversed(ordered), *ordered]) == ordered


def test_filenames_are_relative_to_the_csv_or_audio_folder_or_absolute(csv_path: Path) -> None:
    write(csv_path, "filename,label\nsub/a.wav,x\n/elsewhere/b.wav,y\n")
    beside = [clip.path for clip in read_labels(csv_path).clips]
    assert beside == [csv_path.parent / "sub/a.wav", Path("/elsewhere/b.wav")]
    audio = csv_path.parent / "audio"
    with pytest.raises(LabelsError, match="audio is not a folder"):
        read_labels(csv_path, CsvOptions(audio))
    audio.mkdir()
    moved = [clip.path for clip in read_labels(csv_path, CsvOptions(audio)).clips]
    assert moved == [audio / "sub/a.wav", Path("/elsewhere/b.wav")]


BAD_ROWS = [
    ("a.wav,,,,", "label", "", "is empty"),
    (",x,,,", "filename", "", "is empty"),
    ("a.wav,x,train,0,1,stray", "6", "stray", "6 cells, the header has 5"),
    ("a.wav,x", "3", "x", "2 cells, the header has 5"),
    ("a.wav,x,third,0,1", "split", "third", "train, val, test"),
    ("a.wav,x,train,one,2", "start", "one", "number of seconds"),
    ("a.wav,x,train,-1,2", "start", "-1", "0 or more"),
    ("a.wav,x,train,0,nan", "end", "nan", "finite"),
    ("a.wav,x,train,0,inf", "end", "inf", "finite"),
    ("a.wav,x,train,1,", "end", "", "number of seconds"),
    ("a.wav,x,train,2,1", "end", "1", "later than the start"),
    ("a.wav,x,train,1,1", "end", "1", "later than the start"),
    ("good.wav,x,train,0,1.0", "filename", "good.wav", "repeats line 2"),
    (f"a.wav,{'x' * 201},train,0,1", "label", "x" * 40, "at most 200"),
    ("a.wav,x\x07y,train,0,1", "label", "x\x07y", "printable"),
]
HEADER = "filename,label,split,start,end\ngood.wav,x,train,0,1\n"


@pytest.mark.parametrize(("row", "column", "value", "reason"), BAD_ROWS)
def test_bad_row_is_reported_by_line_column_and_value(
    csv_path: Path, row: str, column: str, value: str, reason: str
) -> None:
    write(csv_path, f"{HEADER}{row}\nlast.wav,y,val,,\n")
    labelled = read_labels(csv_path)
    (problem,) = labelled.problems
    assert (problem.line, problem.code) == (3, "bad_row")
    assert problem.message.startswith(f"column {column}, value {value!r}: ")
    assert reason in problem.message.partition(": ")[2]
    assert [clip.filename for clip in labelled.clips] == ["good.wav", "last.wav"]
    assert problem.filename == row.split(",", maxsplit=1)[0]


def test_all_bad_rows_are_reported(csv_path: Path) -> None:
    write(csv_path, HEADER + "\n".join(row for row, *_ in BAD_ROWS))
    expected = [
        (line, f"column {column}, value {value!r}")
        for line, (_, column, value, _) in enumerate(BAD_ROWS, 3)
    ]
    assert problems(csv_path) == expected


def test_empty_split_counts_as_no_split(csv_path: Path) -> None:
    write(csv_path, "filename,label,split\na.wav,x,\nb.wav,x,test\n")
    assert [clip.split for clip in read_labels(csv_path).clips] == ["", "test"]


def test_one_file_may_have_many_clips(csv_path: Path) -> None:
    write(csv_path, "file,label,start,end\na.wav,x,0,1\na.wav,y,1,2\na.wav,z,,\n./a.wav,z,,\n")
    assert len(read_labels(csv_path).clips) == 3
    assert read_labels(csv_path).problems == (
        ClipProblem.of_row(
            5, "./a.wav", "filename", "./a.wav", "repeats line 4; keep one row per clip"
        ),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"filename,label\n", "a header and no rows"),
        (b"filename,label\n\n,\n", "a header and no rows"),
        (b"a.wav,7\nb.wav,8\n", "is a row, .* add a first line"),
        (b"filename,text\na.wav,7\n", "one of label, digit, class, class_label is needed"),
        (b"filename,label,label\na.wav,7,7\n", "'label' twice"),
        (b"filename,label,start\na.wav,7,0\n", "only one of the columns start and end"),
        (b'filename,label\n"a.wav,7\nb.wav,8\n', "fix the quotes"),
        (b'filename,label\n"a"b.wav,7\n', "line 2.*fix the quotes"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00", "NUL bytes"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "NUL bytes"),
    ],
)
def test_other_file_is_refused(csv_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_labels(write(csv_path, content))


def test_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=f"cannot read {tmp_path}"):
        read_labels(tmp_path / "missing.csv")


def test_real_recordings_are_read(fsdd: Path) -> None:
    plain = read_labels(fsdd / "labels.csv", CsvOptions(fsdd / "recordings")).clips
    full = read_labels(fsdd / "labels_full.csv", CsvOptions(fsdd / "recordings")).clips
    assert len(plain) == len(full) == 3000
    assert sort_labels(clip.label for clip in full) == [str(digit) for digit in range(10)]
    assert len({clip.speaker for clip in full}) == 6
    assert all(clip.path.is_file() for clip in plain[::100])
