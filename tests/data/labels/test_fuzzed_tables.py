"""Properties of the reader of labels CSVs that hold for any text, by generated tables."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earful.data.labels.labels_csv import read_labels, stream_rows
from earful.data.labels.multilabel import find_label_problem
from earful.data.labels.text_file import LabelsError

Read = TypeVar("Read")
# Pieces that tables are made of, and that readers stumble over.
PIECES = st.sampled_from(
    [
        "filename", "label", "split", "start", "end", "fold", "onset", "duration", "a.wav", "dog",
        ",", ";", "\t", "|", '"', '""', "'", "#", "[", "]", "\n", "\r\n", "\r", " ", "sep=;", "1,5",
        "0.5", "-1", "nan", "1e309", "é", "\ufeff", "\u2028", "\x0c", "\\", "C:\\x", "..", "/",
    ]
)  # fmt: skip
JUNK = st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join)
HEADERS = st.sampled_from(["", "filename,label\n", "file;class;start;end\n", "path\tlabel\tfold\n"])
# Labels that are neither empty nor lists of labels, and names that are no addresses.
CELLS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="|[]/\\:#\ufeff"
    ),
    min_size=1,
    max_size=12,
).filter(lambda text: find_label_problem(text) is None)
fuzz = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,  # the same tables each time; a longer search is by hand
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refuse(read: Callable[[], Read]) -> Read | None:
    """What is read; None if it is refused with a sentence. Any other error fails the test."""
    try:
        return read()
    except LabelsError:
        return None


@pytest.mark.slow
@fuzz
@given(header=HEADERS, body=JUNK, encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]))
def test_any_text_is_read_or_refused_with_a_sentence(
    tmp_path: Path, header: str, body: str, encoding: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes((header + body).encode(encoding, "replace"))
    labelled = read_or_refuse(lambda: read_labels(path))
    if labelled is None:
        return
    n_lines = len((header + body).replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    assert 1 <= len(labelled.clips) + len(labelled.problems) < n_lines
    assert all(clip.label and clip.filename for clip in labelled.clips)
    assert all(find_label_problem(clip.label) is None for clip in labelled.clips)


@fuzz
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    labelled = read_or_refuse(lambda: read_labels(path))
    streamed = read_or_refuse(lambda: list(stream_rows(path)))
    assert labelled is None or labelled.clips or labelled.problems
    assert streamed is None or streamed
    assert labelled is None or streamed is not None  # what has all columns has that of the names


@pytest.mark.slow
@fuzz
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8, unique_by=lambda row: row[0]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_writes_is_read_unchanged(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    delimiter: str,
    quoting: int,
    encoding: str,
    line_end: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    writer.writerow(("filename", "label"))
    writer.writerows(rows)
    path = tmp_path / "labels.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    labelled = read_labels(path)
    assert labelled.problems == ()
    assert [(clip.filename, clip.label) for clip in labelled.clips] == rows


@pytest.mark.slow
@fuzz
@given(
    rows=st.lists(
        st.tuples(CELLS, st.text('"ab', min_size=1, max_size=5)),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_quotation_marks_in_a_tsv_lose_no_row(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "labels.tsv"
    lines = ["filename\tlabel", *(f"{name}\t{label}" for name, label in rows)]
    path.write_text("\n".join(lines), "utf-8")
    labelled = read_labels(path)
    assert len(labelled.clips) + len(labelled.problems) == len(rows)
    assert [clip.line for clip in labelled.clips] == sorted({clip.line for clip in labelled.clips})
