"""Tables as datasets, spreadsheets and people write them: what is read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions, parse_columns
from earful.data.labels.labels_csv import read_labels, stream_rows
from earful.data.labels.text_file import LabelsError

RATE_HZ = 8_000


def make_files(folder: Path, *names: str, seconds: float = 0.01) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(round(seconds * RATE_HZ), 0.1), RATE_HZ)


def write(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str | bytes, columns: str = "", separator: str = "") -> LabelledClips:
    options = CsvOptions(columns=parse_columns([columns]), label_separator=separator)
    return read_labels(write(folder, text), options)


def pairs(labelled: LabelledClips) -> list[tuple[str, str]]:
    return [(clip.path.name, clip.label) for clip in labelled.clips]


A_DOG_B_CAT = [("a.wav", "dog"), ("b.wav", "cat")]

# Each is the same two clips.
SAME_TWO_CLIPS = {
    "sep line": "sep=;\nfilename;label\na.wav;dog\nb.wav;cat\n",
    "sep line in quotes": '"sep=,"\nfilename,label\na.wav,dog\nb.wav,cat\n',
    "byte order mark and sep line": "\ufeffsep=;\r\nfilename;label\r\na.wav;dog\r\nb.wav;cat\r\n",
    "vertical bars": "filename|label\na.wav|dog\nb.wav|cat\n",
    "tabs": "filename\tlabel\na.wav\tdog\nb.wav\tcat\n",
    "carriage returns alone": "filename,label\ra.wav,dog\rb.wav,cat\r",
    "comments before the header": "# by hand\n# 2024\nfilename,label\na.wav,dog\nb.wav,cat\n",
    "header in a comment": "# made 2024\n# filename,label\na.wav,dog\nb.wav,cat\n",
    "comments between rows": "filename,label\na.wav,dog\n# then a cat\nb.wav,cat\n",
    "blank lines": "\n\nfilename,label\n\na.wav,dog\n   \nb.wav,cat\n\n",
    "blanks around cells": "filename , label\n a.wav , dog \n b.wav , cat\n",
    "blanks around quotes": 'filename,label\n "a.wav" , "dog" \n"b.wav" ,"cat"\n',
    "empty cells at the end": "filename,label\na.wav,dog,,,\nb.wav,cat,\n",
    "an index column": ",filename,label\n0,a.wav,dog\n1,b.wav,cat\n",
    "more columns": "filename,label,comment\na.wav,dog,\nb.wav,cat,near the road\n",
    "quoted cells in a TSV": 'filename\tlabel\n"a.wav"\t"dog"\nb.wav\tcat\n',
    "a tab in a quoted cell": 'filename\tlabel\tnote\na.wav\tdog\t"x\ty"\nb.wav\tcat\tz\n',
    "capital letters": "FileName,LABEL\na.wav,dog\nb.wav,cat\n",
    "a long cell": f"filename,label,text\na.wav,dog,{'x' * 300_000}\nb.wav,cat,y\n",
    "hyphens in names": "File-Name,Class-Label\na.wav,dog\nb.wav,cat\n",
}


@pytest.mark.parametrize("text", SAME_TWO_CLIPS.values(), ids=SAME_TWO_CLIPS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_same_two_clips_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    labelled = read(tmp_path, text.encode(encoding))
    assert (pairs(labelled), labelled.problems) == (A_DOG_B_CAT, ())


# name: (header of the file name, header of the label)
FIELD_HEADERS = [
    ("file_name", "label"),  # Hugging Face
    ("slice_file_name", "class"),  # UrbanSound8K
    ("fname", "labels"),  # FSD50K
    ("filename", "category"),  # ESC-50
    ("filename", "scene_label"),  # DCASE
    ("filename", "primary_label"),  # BirdCLEF
    ("audio_filepath", "command"),  # NeMo
    ("YTID", "positive_labels"),  # AudioSet
    ("path", "emotion"),
    ("wav_path", "genre"),
    ("Audio File", "Species"),
]


@pytest.mark.parametrize(("filename", "label"), FIELD_HEADERS)
def test_column_names_of_the_field_are_understood(
    tmp_path: Path, filename: str, label: str
) -> None:
    labelled = read(tmp_path, f"{filename},{label}\na.wav,dog\nb.wav,cat\n")
    assert pairs(labelled) == A_DOG_B_CAT
    assert dict(labelled.column_names) == {"filename": filename, "label": label}


def test_what_is_read_under_another_name_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", "b.wav")
    labelled = read(
        tmp_path, "filename,fold,target,category,src_file\na.wav,1,0,dog,x\nb.wav,2.0,1,cat,y\n"
    )
    assert labelled.notes == (
        "read: filename from 'filename', label from 'category', fold from 'fold'",
        "not read: 'target' (like a label), 'src_file' (like a group); --columns reads them, as in "
        "--columns label=target",
    )
    assert [clip.fold for clip in labelled.clips] == ["1", "2"]
    asked = read(
        tmp_path,
        "filename,fold,target,category,src_file\na.wav,1,0,dog,x\nb.wav,2,1,cat,y\n",
        "label=target,speaker=SRC_FILE,fold=",
    )
    assert [(c.label, c.speaker, c.fold) for c in asked.clips] == [("0", "x", ""), ("1", "y", "")]
    assert asked.columns == {"filename", "label", "speaker"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("label=categry", "no column 'categry' for the label.*did you mean 'category'.*it has"),
        ("lable=category", "--columns reads filename, label.*found 'lable'.*did you mean 'label'"),
        ("category", "--columns is ROLE=COLUMN, such as label=category, found 'category'"),
        ("label=", "needs a label"),
        ("label=category,label=target", "names the label twice"),
        ("start=target", "needs a start, and an end or a duration"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, columns: str, message: str) -> None:
    with pytest.raises((LabelsError, ValueError), match=message):
        read(tmp_path, "filename,target,category\na.wav,0,dog\nb.wav,1,cat\n", columns)


@pytest.mark.parametrize(
    "columns", ['label="class, coarse"', 'filename=f , label = "class, coarse"']
)
def test_a_column_with_a_comma_in_its_name_is_given_in_quotation_marks(
    tmp_path: Path, columns: str
) -> None:
    text = 'f,filename,"class, coarse"\na.wav,a.wav,dog\nb.wav,b.wav,cat\n'
    assert pairs(read(tmp_path, text, columns)) == A_DOG_B_CAT


def test_the_file_name_column_whose_files_exist_is_taken(tmp_path: Path) -> None:
    make_files(tmp_path, "clips/x/a.wav", "clips/y/b.wav")
    labelled = read(
        tmp_path, "filename,path,label\na.wav,clips/x/a.wav,dog\nb.wav,clips/y/b.wav,cat\n"
    )
    assert pairs(labelled) == A_DOG_B_CAT
    assert "filename from 'path'" in labelled.notes[0]
    assert "'filename' (like a file name)" in labelled.notes[1]


def test_a_column_of_other_words_is_no_split(tmp_path: Path) -> None:
    labelled = read(tmp_path, "filename,label,set\na.wav,dog,balanced\nb.wav,cat,balanced\n")
    assert labelled.columns == {"filename", "label"}
    assert "'set' (like a split)" in labelled.notes[0]
    labelled = read(tmp_path, "filename,label,set\na.wav,dog,Training\nb.wav,cat,Testing\n")
    assert [clip.split for clip in labelled.clips] == ["train", "test"]


BROKEN_TABLES = {
    "a quotation mark that is closed two rows later": (
        'filename,label\na.wav,"dog\nb.wav,cat\nc.wav,cow"\nd.wav,pig\n',
        ["line 2.*a quotation mark opens a cell here that goes on for 3 lines"],
        [("d.wav", "pig")],
    ),
    "a swallowed row in a column that is not read": (
        'filename,label,note\na.wav,dog,"x\nb.wav,cat,"\nc.wav,cow,z\n',
        ["line 2.*goes on for 2 lines, with rows in it"],
        [("c.wav", "cow")],
    ),
    "a lone quotation mark in a TSV": (
        'filename\tlabel\na.wav\t"dog\nb.wav\tcat\n',
        [],
        [("a.wav", '"dog'), ("b.wav", "cat")],
    ),
    "inches": (
        'filename,label\na.wav,5" drum\nb.wav,cat\n',
        [],
        [("a.wav", '5" drum'), ("b.wav", "cat")],
    ),
    "a row of another width": (
        "filename,label\na.wav,dog\nb.wav,cat,big\n",
        ["line 3.*has 3 cells, the header has 2"],
        [("a.wav", "dog")],
    ),
    "decimal commas between commas": (
        "filename,label,start,end\na.wav,dog,0,5,1,5\nb.wav,cat,0,1\n",
        ["line 2.*has 6 cells, the header has 4"],
        [("b.wav", "cat")],
    ),
    "an address of a file server": (
        "filename,label\nftp://host/a.wav,dog\nb.wav,cat\n",
        ["is an address; download the file"],
        [("b.wav", "cat")],
    ),
    "a row between other marks": (
        "filename;label\na.wav,dog\nb.wav;cat\n",
        ["has 1 cell, the header has 2; separate its cells as in the header, not by ','"],
        [("b.wav", "cat")],
    ),
    "a clip with two labels in two rows": (
        "filename,label\na.wav,dog\na.wav,bark\n",
        [r"repeats line 2 with another label; .* for both labels with 'bark\|dog'"],
        [("a.wav", "dog")],
    ),
    "a clip twice": (
        "filename,label\na.wav,dog\na.wav,dog\n",
        ["repeats line 2; keep one row per clip"],
        [("a.wav", "dog")],
    ),
    "an address": (
        "filename,label\nhttps://host/a.wav,dog\nb.wav,cat\n",
        ["is an address; download the file"],
        [("b.wav", "cat")],
    ),
    "a clip from its end to its start": (
        "filename,label,onset,offset\na.wav,dog,2,1\nb.wav,cat,0,1\n",
        ["column end, value '1': must be later than the start"],
        [("b.wav", "cat")],
    ),
    "an empty duration": (
        "filename,label,start,duration\na.wav,dog,2,\nb.wav,cat,0,1\n",
        ["column duration, value '': a time is a number of seconds"],
        [("b.wav", "cat")],
    ),
    "a duration of nothing": (
        "filename,label,start,duration\na.wav,dog,2,0\nb.wav,cat,0,1\n",
        ["column duration, value '0': must be above 0"],
        [("b.wav", "cat")],
    ),
    "an unknown split": (
        "filename,label,split\na.wav,dog,third\nb.wav,cat,train\n",
        ["a split is one of train, val, test, or empty"],
        [("b.wav", "cat")],
    ),
    "an empty list of labels": (
        "filename,label\na.wav,[]\nb.wav,cat\n",
        ["line 2.*column label"],
        [("b.wav", "cat")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reasons", "left"), BROKEN_TABLES.values(), ids=BROKEN_TABLES)
def test_broken_rows_are_named_and_the_others_are_read(
    tmp_path: Path, text: str, reasons: list[str], left: list[tuple[str, str]]
) -> None:
    labelled = read(tmp_path, text)
    assert pairs(labelled) == left
    assert len(labelled.problems) == len(reasons)
    for problem, reason in zip(labelled.problems, reasons, strict=True):
        with pytest.raises(ValueError, match=reason):
            raise ValueError(str(problem))


REFUSED_TABLES = {
    "comments alone": (b"# a\n# b\n", "is empty"),
    "a quotation mark that is never closed": (
        b'filename,label\na.wav,"dog\nb.wav,cat\n',
        "line 2.*fix the quotes",
    ),
    "text after a closing mark": (
        b'filename,label\na.wav,dog\nb.wav,"cat"x\n',
        "line 3.*fix the quotes",
    ),
    "Cyrillic of a code page": (
        "filename,label\na.wav,собака\n".encode("cp1251"),
        "code page is not known",
    ),
    "damaged UTF-8": (
        "filename,label\nhé.wav,dög\n".encode() + b"\xff.wav,x\n",
        "though other letters of it are",
    ),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00", "NUL bytes"),
    "a column twice": (b"filename,label,label\na.wav,x,y\n", "'label' twice"),
    "a start without an end": (
        b"filename,label,start\na.wav,x,1\n",
        "only one of the columns start and end",
    ),
    "JSON lines": (b'{"audio_filepath": "a.wav", "command": "yes"}\n', "holds JSON; write"),
    "a list of JSON": (b'[\n  {"file": "a.wav"}\n]\n', "holds JSON; write"),
    "a web page": (b"\n<!DOCTYPE html>\n<html>404</html>\n", "is a web page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "`git lfs pull`"),
    "R's write.table": (b'"filename" "label"\n"1" "a.wav" "dog"\n', "has blanks between its cells"),
    "half of UTF-16": ("filename,label\na.wav,dog\n".encode("utf-16")[:-1], "not text in UTF-16"),
    "one endless line": (b"filename,label," + b"x" * (1 << 21), "a line of"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED_TABLES.values(), ids=REFUSED_TABLES)
def test_other_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    for reader in (read_labels, lambda path: list(stream_rows(path))):
        with pytest.raises(LabelsError, match=message):
            reader(write(tmp_path, content))


# Tables without a column of names or of labels, and the sentence with the next step.
MISSING_COLUMNS = {
    "a.wav,dog\nb.wav,cat\n": "first line of .* is a row, 'a.wav', 'dog'; .* filename,label, with",
    "dog|a.wav|x\ncat|b.wav|y\n": "is a row, 'dog', 'a.wav', 'x'; .* label,filename,more, with",
    "utt1 a.wav\nutt2 b.wav\n": "is 'utt1 a.wav', with blanks between its cells; put commas",
    "0.0\t1.5\tdog\n1.5\t2.5\tcat\n": "read a label track with `earful labels import",
    "My data 2024\nfilename,label\na.wav,dog\n": "'filename', 'label', come after it; remove",
    "Datei;Art\na.wav;Hund\n": "--columns filename=Datei$",
    "filename,dog,cat\na.wav,1,0\nb.wav,0,1\n": "if 'dog', 'cat', ... are labels of 0 and 1",
    "filename,lable\na.wav,dog\n": "--columns label=NAME; the column 'lable' is not read .*'label'",
    "filename,gender\na.wav,dog\n": "--columns label=NAME$",
}


@pytest.mark.parametrize(("text", "message"), MISSING_COLUMNS.items())
def test_a_table_without_names_or_labels_is_told_what_to_do(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(LabelsError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [("clip_start,clip_end", "time"), ("start_frame,x", "time"), ("is_test,x", "split")],
)
def test_what_looks_like_a_time_or_a_split_is_never_passed_over_silently(
    tmp_path: Path, columns: str, kind: str
) -> None:
    labelled = read(tmp_path, f"filename,label,{columns}\na.wav,dog,1,2\nb.wav,cat,1,2\n")
    assert f"not read: '{columns.split(',', maxsplit=1)[0]}' (like a {kind})" in labelled.notes[0]


def test_a_column_that_another_one_was_asked_for_is_no_news(tmp_path: Path) -> None:
    labelled = read(tmp_path, "filename,label,target\na.wav,dog,1\nb.wav,cat,2\n", "label=target")
    assert labelled.notes[0].startswith("2 of 2 files are not in")


def test_windows_1252_is_read_and_said(tmp_path: Path) -> None:
    make_files(tmp_path, "café.wav", "b.wav")
    labelled = read(tmp_path, "filename,label\ncafé.wav,müde\nb.wav,wach\n".encode("cp1252"))
    assert pairs(labelled) == [("café.wav", "müde"), ("b.wav", "wach")]
    assert "read as Windows-1252" in labelled.notes[0]


SPLIT_WORDS = [
    (["train", "validation", "test"], ["train", "val", "test"]),
    (["Training", "Valid", "Testing"], ["train", "val", "test"]),
    (["train", "dev", "eval"], ["train", "val", "test"]),
    (["dev", "eval"], ["train", "test"]),
    (["train", "eval", "test"], ["train", "val", "test"]),
    (["train", "val", "holdout"], ["train", "val", "test"]),
    (["train", "", "test"], ["train", "", "test"]),
]


@pytest.mark.parametrize(("words", "splits"), SPLIT_WORDS)
def test_words_for_splits_are_understood(
    tmp_path: Path, words: list[str], splits: list[str]
) -> None:
    rows = [f"{i}.wav,x,{word}" for i, word in enumerate(words)]
    labelled = read(tmp_path, "\n".join(["filename,label,split", *rows]))
    assert [clip.split for clip in labelled.clips] == splits


def test_words_for_empty_cells_are_empty_and_those_of_labels_are_pointed_out(
    tmp_path: Path,
) -> None:
    rows = "a.wav,dog,NA,nan,NaN,NA,NA\nb.wav,nan,ann,1,train,0,1\n"
    labelled = read(tmp_path, "filename,label,speaker,fold,split,start,end\n" + rows)
    first, second = labelled.clips
    assert (first.speaker, first.fold, first.split, first.start_seconds) == ("", "", "", None)
    assert (second.speaker, second.fold, second.split, second.end_seconds) == (
        "ann", "1", "train", 1,
    )  # fmt: skip
    assert "1 of 2 labels are 'nan', which programs write for an empty cell" in labelled.notes[0]


def times(labelled: LabelledClips) -> list[tuple[float | None, float | None]]:
    return [(clip.start_seconds, clip.end_seconds) for clip in labelled.clips]


# Names of the columns of times, and the cells for 1 to 2.5 s.
TIME_COLUMNS = [
    ("start,end", "1,2.5"),
    ("onset,offset", "1,2.5"),
    ("start_time,end_time", "1,2.5"),
    ("begin,end", "1.0,2.50"),
    ("Begin Time (s),End Time (s)", "1,2.5"),
    ("start_seconds,end_seconds", "1,2.5"),
    ("start_ms,end_ms", "1000,2500"),
    ("start_sample,end_sample", "8000,20000"),
    ("start,duration", "1,1.5"),
    ("offset,duration", "1,1.5"),
    ("onset,duration_ms", "1,1500"),
    ("tmin,tmax", "1,2.5"),
    ("start(s),end(s)", "1,2.5"),
    ("Start [ms],End [ms]", "1000,2500"),
    ("from,to", "1,2.5"),
    ("Startzeit,Endzeit", "1,2.5"),
    ("start,end", '"1,0","2,5"'),
    ("start,end", "0:01,0:02.5"),
    ("start,end", "1000,2500"),  # milliseconds by their numbers
]


@pytest.mark.parametrize(("names", "cells"), TIME_COLUMNS)
def test_times_under_other_names_and_in_other_units(tmp_path: Path, names: str, cells: str) -> None:
    make_files(tmp_path, "a.wav", "b.wav", seconds=3)
    labelled = read(tmp_path, f"filename,label,{names}\na.wav,dog,{cells}\nb.wav,cat,{cells}\n")
    assert np.allclose(np.array(times(labelled), float), [(1.0, 2.5), (1.0, 2.5)])
    streamed = [row for row in stream_rows(tmp_path / "labels.csv") if isinstance(row, Clip)]
    assert [(c.start_seconds, c.end_seconds) for c in streamed] == times(labelled)


def test_numbers_that_are_samples_are_samples(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", "b.wav", seconds=30)
    rows = "a.wav,dog,80000,160000\nb.wav,cat,160000,240000\n"
    labelled = read(tmp_path, "filename,label,start,end\n" + rows)
    assert times(labelled) == [(10, 20), (20, 30)]
    assert "times are read as samples" in labelled.notes[0]


def test_decimal_commas_between_semicolons(tmp_path: Path) -> None:
    labelled = read(tmp_path, "filename;label;start;end\na.wav;dog;0,1;0,5\nb.wav;cat;0,25;1\n")
    assert times(labelled) == [(0.1, 0.5), (0.25, 1.0)]


def test_several_stretches_of_a_file_are_several_clips(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", seconds=3)
    labelled = read(tmp_path, "filename,label,onset,offset\na.wav,dog,0,1\na.wav,cat,1,2\n")
    assert times(labelled) == [(0.0, 1.0), (1.0, 2.0)]


def test_times_of_another_recording_are_explained(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", "b.wav", "c.wav", seconds=4)
    rows = "a.wav,dog,0,4\nb.wav,cat,58.2,62.2\nc.wav,cow,12,16\n"
    with pytest.raises(LabelsError, match=r"2 of 3 rows end beyond.*--columns start=,end= takes"):
        read(tmp_path, "filename,label,start,end\n" + rows)
    labelled = read(tmp_path, "filename,label,start,end\n" + rows, "start=,end=")
    assert times(labelled) == [(None, None)] * 3


def test_the_last_of_several_windows_may_overhang_but_a_wrong_end_may_not(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", seconds=4)
    rows = "a.wav,x,0,3\na.wav,y,3,6\na.wav,z,1,4\na.wav,z,1,100\n"
    labelled = read(tmp_path, "filename,label,start,end\n" + rows)
    assert [clip.end_tolerance_seconds for clip in labelled.clips] == [3.0, 3.0, 3.0, 0.01]


def test_cut_outs_of_longer_recordings_are_no_windows(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", "b.wav", "c.wav", seconds=4)
    rows = "a.wav,x,0.5,4.5\nb.wav,y,0,4\nc.wav,z,0,4\n"
    labelled = read(tmp_path, "filename,label,start,end\n" + rows)
    assert [clip.end_tolerance_seconds for clip in labelled.clips] == [0.01] * 3


MULTI_LABEL_CELLS = [
    ("['dog', 'rain']", "dog|rain"),
    ('["rain", "dog"]', "dog|rain"),
    ("[dog, rain]", "dog|rain"),
    ("[1, 2]", "1|2"),
    ("['dog' 'rain']", "dog|rain"),  # of NumPy
    ("[1]", "[1]"),
    ("(dog, rain)", "(dog, rain)"),
    ("['it''s', 'x']", "['it''s', 'x']"),
]


@pytest.mark.parametrize(("cell", "label"), MULTI_LABEL_CELLS)
def test_lists_of_labels_are_several_labels(tmp_path: Path, cell: str, label: str) -> None:
    labelled = read(tmp_path, f"filename\tlabel\na.wav\t{cell}\nb.wav\tcat\n")
    assert labelled.clips[0].label == label
    is_list = label != cell
    assert any("label cells are lists" in note for note in labelled.notes) == is_list


@pytest.mark.parametrize("separator", [",", ";", "/"])
def test_labels_between_separators_are_pointed_out_and_split_when_asked(
    tmp_path: Path, separator: str
) -> None:
    label = f"Bark{separator} Dog{separator}Animal"
    text = f'filename,label\na.wav,"{label}"\nb.wav,"Dog{separator}Animal"\nc.wav,Rain\n'
    labelled = read(tmp_path, text)
    assert labelled.clips[0].label == label
    assert f"2 of 3 labels hold '{separator}'" in labelled.notes[-1]
    assert f"--label-separator '{separator}'" in labelled.notes[-1]
    asked = read(tmp_path, text, separator=separator)
    assert [clip.label for clip in asked.clips] == ["Animal|Bark|Dog", "Animal|Dog", "Rain"]


def test_a_comma_in_one_name_is_no_separator(tmp_path: Path) -> None:
    text = 'filename,label\na.wav,"Warbler, Yellow"\nb.wav,"Owl, Barn"\n'
    assert not any("--label-separator" in note for note in read(tmp_path, text).notes)


def test_a_separator_is_no_word(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--label-separator is what stands between labels"):
        read(tmp_path, "filename,label\na.wav,dog\n", separator="and")


# Name in the CSV, file that is there, and how they differ; {} is the folder of the CSV.
FOREIGN_NAMES = [
    ("x\\a.wav", "x/a.wav", "by their slashes"),
    ("x/a.WAV", "x/a.wav", "by capital letters"),
    ("X/A.wav", "x/a.wav", "by capital letters"),
    ("e\u0301.wav", "\u00e9.wav", "by their Unicode form"),
    ("a", "a.wav", "by their suffix"),
    ("a.mp3", "a.wav", "by their suffix"),
    ("blues.00001", "blues.00001.wav", "by their suffix"),
    ("a.wav", "deep/down/a.wav", "by the folders that they leave out"),
    ("x/a.wav", "audio/x/a.wav", "by the folders that they leave out"),
    ("C:\\Users\\ann\\x\\a.wav", "x/a.wav", "by the path of another machine"),
    ("/home/ann/data/x/a.wav", "x/a.wav", "by the path of another machine"),
    ("D:/data/a.wav", "a.wav", "by the path of another machine"),
]


@pytest.mark.parametrize(("name", "file", "difference"), FOREIGN_NAMES)
def test_files_under_names_of_other_systems_are_found_and_said(
    tmp_path: Path, name: str, file: str, difference: str
) -> None:
    make_files(tmp_path, file, "other.wav")
    labelled = read(tmp_path, f"filename,label\n{name},dog\nother.wav,cat\n")
    assert labelled.clips[0].path == tmp_path / file
    assert f"1 name differs from the files taken {difference}" in labelled.notes[0]


@pytest.mark.parametrize(
    ("names", "files", "hint"),
    [
        (["a.wav"], ["x/a.wav", "y/a.wav"], "2 files have that name"),
        (["x/a.wav", "y/a.wav"], ["z/a.wav"], "there is z/a.wav, in another folder"),
        (["train/a.wav"], ["test/a.wav"], "there is test/a.wav, in another folder"),
        (["a.wav", "A.wav"], ["x/a.wav"], "has that name, but other rows name it too"),
        (["/p/a.wav", "/q/b.wav"], ["a.wav", "b.wav"], "has that name, but other rows name it too"),
        (["gone.wav"], ["a.wav"], "the first: 'gone.wav')"),
        (["../a.wav"], ["a.wav"], "the first: '../a.wav')"),
        (["._a.wav"], ["x/._a.wav"], "the first: '._a.wav')"),
        (["a.wav"], ["__MACOSX/a.wav"], "the first: 'a.wav')"),
    ],
)
def test_a_file_that_is_not_certain_is_named_and_not_taken(
    tmp_path: Path, names: list[str], files: list[str], hint: str
) -> None:
    folder = tmp_path / "data"
    make_files(folder, *files)
    rows = [f"{name},{'dog' if i else 'cat'}" for i, name in enumerate(names)]
    labelled = read_labels(write(folder, "\n".join(["filename,label", *rows])))
    assert not any(clip.path.exists() for clip in labelled.clips)
    assert f"{len(names)} of {len(names)} files are not in {folder}" in labelled.notes[-1]
    assert hint in labelled.notes[-1]


@pytest.mark.parametrize("customary", ["audio", "recordings", "clips"])
def test_recordings_beside_the_folder_of_the_csv_are_found(tmp_path: Path, customary: str) -> None:
    make_files(tmp_path, f"{customary}/a.wav", f"{customary}/b.wav")
    labelled = read_labels(
        write(tmp_path, "filename,label\na.wav,dog\nb.wav,cat\n", "meta/labels.csv")
    )
    assert all(clip.path.is_file() for clip in labelled.clips)
    assert "2 names differ from the files taken by the folder beside" in labelled.notes[0]


def test_names_that_are_there_are_never_moved(tmp_path: Path) -> None:
    make_files(tmp_path, "a.wav", "x/a.wav", "b.wav")
    labelled = read(tmp_path, "filename,label\na.wav,dog\nb.wav,cat\n")
    assert [clip.path for clip in labelled.clips] == [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert labelled.notes == ()
