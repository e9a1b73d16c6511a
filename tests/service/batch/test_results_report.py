"""The HTML report of batch results: figures, self-contained page, formats, errors."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from earful.data.errors import EarfulError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow
from earful.training.reports.results_report import write_results_report
from earful.training.reports.results_summary import summarise_results
from tests.fixtures.synthetic_audio import noise, tone, wav
from tests.service.batch.conftest import day

Earful = Callable[..., Result]
HEADER = "filename,start,end,label,score,status,error,expected\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Six rows: certain and uncertain, correct and incorrect, one failed, one without a hit."""
    (tmp_path / "low.wav").write_bytes(wav(tone("low")))
    (tmp_path / "<b>.wav").write_bytes(wav(noise(9.0, 0.1)))
    path = tmp_path / "r.csv"
    path.write_text(
        HEADER + "low.wav,0.000,0.400,low,0.990000,ok,,low\n"
        "<b>.wav,0.000,9.000,mid,0.510000,ok,,low\n"
        "gone.wav,0.000,1.000,mid,0.300000,ok,,mid\n"
        "low.wav,1.000,2.000,high,0.800000,ok,,low\n"
        "x.wav,,,,,error,empty_audio: the file is empty (0 bytes),low\n"
        "quiet.wav,0.000,3.000,,,ok,,\n",
        encoding="utf-8",
    )
    return path


def test_report_figures_match_the_rows(results: Path) -> None:
    summary = summarise_results(read_results(results), clips=2)
    assert (summary.rows, summary.files) == (6, 6)
    assert summary.labels == {"low": 1, "mid": 2, "high": 1, "(no label)": 1}
    assert summary.errors == {"empty_audio": 1}
    assert (summary.labelled, summary.correct) == (4, 2)
    assert [row.filename for row in summary.least_confident] == ["gone.wav", "<b>.wav"]
    assert [row.label for row in summary.most_confident_errors] == ["high", "mid"]
    assert sum(summary.bins) == 4
    assert summary.bins[-1] == summary.bins[6] == 1


def test_page_is_self_contained_and_escapes_names(results: Path) -> None:
    out = results.with_name("page.html")
    write_results_report(results, out, audio_dir=results.parent)
    page = out.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "<b>.wav" not in page
    assert "&lt;b&gt;.wav" in page
    assert page.count("data:audio/wav") == page.count("data:image/png") == 3
    assert "cannot be played: no such file" in page
    assert "is not entirely inside the audio" in page
    assert "50.0 %" in page
    assert "empty_audio" in page


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_results_format_can_be_reported(
    earful: Earful, model: Path, tones: Path, tmp_path: Path, suffix: str
) -> None:
    (tones / "broken.wav").write_bytes(b"")
    (tones / "labels.csv").write_text(
        "file,label\nlow.wav,low\nmid.wav,low\nbroken.wav,low\n", encoding="utf-8"
    )
    out = tmp_path / f"r.{suffix}"
    earful("classify", tones / "labels.csv", "--model", model, "--out", out)
    done = earful("report", out)
    assert "3 rows of 3 files" in done.stderr
    first, second, third = read_results(out)
    assert (first.label, first.expected, first.status) == ("low", "low", "ok")
    assert second.label == "mid"
    assert third.error.startswith("empty_audio: ")
    assert "50.0 %" in out.with_suffix(".html").read_text("utf-8")


def test_events_of_long_recordings_are_reported_and_played(
    earful: Earful, model: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "recordings", tmp_path / "r.csv"
    folder.mkdir()
    (folder / "day.wav").write_bytes(wav(day()))
    (folder / "cut.wav").write_bytes(wav(day())[:-8000])
    (folder / "quiet.wav").write_bytes(wav(noise(5.0, 0.01)))
    earful("classify", folder, "--model", model, "--out", out)
    summary = write_results_report(out, out.with_suffix(".html"))
    assert (summary.rows, summary.files) == (10, 3)
    assert summary.labels == {"low": 2, "high": 4, "mid": 2, "(no label)": 1}
    assert summary.errors == {"truncated": 1}
    assert summary.labelled == 0
    page = out.with_suffix(".html").read_text("utf-8")
    assert page[page.index("<h2>Least confident") :].count("data:audio/wav") == 8
    heard = page[page.index("<h2>To hear") : page.index("<h2>Least confident")]
    assert heard.count("data:audio/wav") == 7  # at most three of each label
    assert 'href="./recordings/day.wav#t=' in heard
    assert summary.recordings is not None
    assert [recording.rows for recording in summary.recordings.listed] == [4, 4, 0]


def event_rows(filename: str, *events: tuple[float, str], expected: str = "") -> list[ResultRow]:
    return [
        ResultRow(filename, start, start + 0.5, label, 0.9, expected=expected)
        for start, label in events
    ]


def test_events_per_hour_follow_the_time_of_day_in_the_names() -> None:
    """Two recordings of an hour each, of which only the last rows tell the length."""
    rows = [
        *event_rows("A_20240510_053000.wav", (0, "owl"), (1799, "owl"), (1800, "owl")),
        ResultRow("A_20240510_053000.wav", 3599.5, 3600, "fox", 0.8),
        ResultRow("B_20240511_233000.wav", 0, 3600),  # over midnight, without an event
    ]
    recordings = summarise_results(rows, clips=2).recordings
    assert recordings is not None
    assert (recordings.files, recordings.rows, recordings.unmeasured) == (2, 4, 2)
    assert not recordings.are_windows
    assert recordings.by_time.table() is None
    table = recordings.by_day.table()
    assert table is not None
    hours = {column: n for column, n in zip(table.columns, table.hours, strict=True) if n}
    assert hours == {"00": 0.5, "05": 0.5, "06": 0.5, "23": 0.5}
    owl, fox = table.rows
    assert (owl.label, owl.count, owl.rate) == ("owl", 3, 1.5)
    assert [owl.cells[hour].rate for hour in (0, 4, 5, 6)] == [0, None, 4, 2]
    assert (fox.cells[6].count, fox.cells[6].share) == (1, 1)


def test_without_a_start_time_events_are_over_the_recordings_own_time(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav(noise(90.0, 0.01)))
    rows = event_rows("x.wav", (1, "owl"), (70, "owl"))
    recordings = summarise_results(rows, 2, tmp_path).recordings
    assert recordings is not None
    assert (recordings.unmeasured, recordings.seconds) == (0, 90)
    table = recordings.by_time.table()
    assert table is not None
    assert table.columns == ("0:00", "0:01")
    assert [cell.rate for cell in table.rows[0].cells] == [60, 120]


def test_short_clips_are_no_long_recordings() -> None:
    rows = [ResultRow(f"{n}.wav", 0, 1, "a", 0.9) for n in range(5)]
    assert summarise_results(rows, 2).recordings is None


def test_a_long_recording_may_have_one_event_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav(noise(20.0, 0.01)))
    (tmp_path / "clip.wav").write_bytes(wav(noise(0.5, 0.01)))
    rows = [*event_rows("clip.wav", (0, "owl")), *event_rows("long.wav", (0, "owl"))]
    recordings = summarise_results(rows, 2, tmp_path).recordings
    assert recordings is not None
    assert [(each.filename, each.rows) for each in recordings.listed] == [("long.wav", 1)]


def test_without_the_files_the_report_lists_no_events_to_hear(tmp_path: Path) -> None:
    results = tmp_path / "r.csv"
    results.write_text(HEADER + "x.wav,3.000,4.000,low,0.9,ok,,\n", encoding="utf-8")
    write_results_report(results, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "1 recording was not found" in page
    assert "To hear" not in page


def test_windows_are_not_called_events(tmp_path: Path) -> None:
    results = tmp_path / "r.csv"
    lines = [f"x.wav,{n / 4:.3f},{n / 4 + 1:.3f},low,0.9,ok,,\n" for n in range(9)]
    results.write_text(HEADER + "".join(lines), encoding="utf-8")
    summary = write_results_report(results, tmp_path / "r.html")
    assert summary.recordings is not None
    assert summary.recordings.are_windows
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Windows over time" in page
    assert "Events over" not in page


def test_a_label_of_a_file_with_several_rows_is_not_counted_for_each_row(tmp_path: Path) -> None:
    """As from a labelled list with ``--mode events``."""
    rows = [
        *event_rows("a.wav", (1, "owl"), (3, "fox"), (5, "fox"), expected="owl"),
        *event_rows("b.wav", (1, "fox"), (3, "fox"), expected="owl"),
        *event_rows("c.wav", (2, "owl"), expected="owl"),
        ResultRow("d.wav", 0, 9, expected="owl"),
    ]
    summary = summarise_results(rows, clips=2)
    assert (summary.labelled, summary.correct, len(summary.confusion)) == (0, 0, 0)
    assert (summary.labelled_files, summary.found_files) == (4, 2)
    assert summary.most_confident_errors == []


def test_parts_of_a_file_with_labels_of_their_own_count_each() -> None:
    rows = [
        ResultRow("a.wav", 0, 1, "owl", 0.9, expected="owl"),
        ResultRow("a.wav", 1, 2, "owl", 0.9, expected="fox"),
    ]
    summary = summarise_results(rows, clips=2)
    assert (summary.labelled, summary.correct, summary.labelled_files) == (2, 1, 0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "cannot read"),
        ("r.xls", "", "results are .csv"),
        ("r.csv", "a,b\n1,2\n", "has no column filename"),
        ("r.csv", HEADER, "has no rows"),
        ("r.csv", HEADER + "a.wav,0,1,low,high,ok,,\n", "not a result of"),
        ("r.csv", HEADER + "a.wav,0,1,low,nan,ok,,\n", "not a result of"),
        ("r.jsonl", "[1]\n", "not a result of"),
        ("r.jsonl", "{\n", "not a result of"),
        ("r.parquet", "PAR1", "not a result of"),
    ],
)
def test_files_without_results_are_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EarfulError, match=message):
        write_results_report(tmp_path / name, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_large_results_keep_only_displayed_rows_in_memory() -> None:
    rows = (ResultRow(f"{n}.wav", 0, 1, "a", (n % 1000) / 1000, expected="b") for n in range(5000))
    summary = summarise_results(rows, clips=3)
    assert [row.filename for row in summary.least_confident] == ["0.wav", "1000.wav", "2000.wav"]
    assert [row.score for row in summary.most_confident_errors] == [0.999] * 3
