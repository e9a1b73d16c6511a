"""Windows to rows: hops, hits, and rows discarded after a late error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from earful.data.errors import UsageError
from earful.service.batch.classify_inputs import classify_inputs
from earful.service.batch.inputs import Input
from earful.service.batch.items import ClassifyOptions, InputEnd
from earful.service.batch.rows import ResultRow, utf8_name
from earful.service.batch.settled_rows import RunStats, settle_rows
from earful.service.classifier import Classifier
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav

Earful = Callable[..., Result]


def row(start: float, label: str, score: float, name: str = "a.wav") -> ResultRow:
    return ResultRow(name, start, start + 1.0, label, score, ((label, score),))


def test_min_score_leaves_out_windows(classifier: Classifier, tmp_path: Path) -> None:
    waveform = overlay_at(tone("low"), 1.0, overlay_at(tone("high"), 4.0, noise(6.0, 0.001)))
    (tmp_path / "a.wav").write_bytes(wav(waveform))

    def rows(min_score: float) -> list[ResultRow]:
        options = ClassifyOptions("windows", min_score=min_score)
        items = classify_inputs(classifier, [Input(str(tmp_path / "a.wav"))], options)
        return [item for item in items if isinstance(item, ResultRow)]

    every, hits = rows(0.0), rows(0.6)
    assert len(every) == 21
    assert hits == [row for row in every if row.scores[0][1] >= 0.6]
    assert 0 < len(hits) < len(every)
    nothing = rows(1.1)
    assert [(r.label, r.scores, r.end) for r in nothing] == [("", (), 6.0)]


def test_hop_sets_the_window_spacing(earful: Earful, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(3.2, 0.1)))
    options = ["--model", model, "--mode", "windows", "--hop-seconds", "1"]
    done = earful("classify", tmp_path / "a.wav", *options)
    starts = [line.split(",")[1] for line in done.stdout.splitlines()[1:]]
    assert starts == ["0.000", "1.000", "2.000", "2.200"]


@pytest.mark.parametrize("hop", ["0", "nan", "inf", "1e-9", "1e9"])
def test_invalid_hop_is_refused(earful: Earful, model: Path, tones: Path, hop: str) -> None:
    done = earful("classify", tones, "--model", model, "--mode", "windows", "--hop-seconds", hop)
    assert isinstance(done.exception, UsageError)
    assert "--hop-seconds is from 0.001 to 3600 s" in str(done.exception)


@pytest.mark.parametrize("n_rows", [0, 1, 999, 1000, 1001, 2500])
def test_late_decode_error_discards_earlier_rows_of_the_file(n_rows: int) -> None:
    good, bad = Input("good.wav"), Input("bad.wav")
    items = [
        row(0.0, "a", 0.9, "good.wav"),
        InputEnd(good, 1.0),
        *[row(float(n), "a", 0.9, "bad.wav") for n in range(n_rows)],
        InputEnd(bad, 0.0, "truncated: the file became shorter"),
        row(0.0, "b", 0.9, "good.wav"),
        InputEnd(good, 1.0),
    ]
    written: list[ResultRow] = []
    assert settle_rows(items, written.append) == RunStats(3, 2.0, {"truncated": 1})
    first, second, third = written
    assert (first.label, third.label) == ("a", "b")
    assert second.error == "truncated: the file became shorter"


@pytest.mark.parametrize("n_rows", [0, 1, 999, 1000, 1001, 2500])
def test_events_before_a_late_error_are_kept(n_rows: int) -> None:
    bad = Input("bad.wav", expected="a")
    events = [row(float(n), "a", 0.9, "bad.wav") for n in range(n_rows)]
    written: list[ResultRow] = []
    end = InputEnd(bad, 7.0, "truncated: the file became shorter", keeps_rows=True)
    assert settle_rows([*events, end], written.append) == RunStats(1, 7.0, {"truncated": 1})
    *kept, failed = written
    assert kept == events
    assert failed.error == "truncated: the file became shorter"


def test_rows_are_the_same_after_a_line_of_json() -> None:
    rows = [
        ResultRow("é\n.wav", 0.0, 1.5, "a", 0.123456, (("a", 0.123456), ("b", 0.1)), expected="b"),
        ResultRow("x", error="empty_audio: 0 bytes"),
    ]
    assert [ResultRow.from_json_line(each.to_json_line()) for each in rows] == rows


def test_undecodable_names_can_be_written() -> None:
    assert utf8_name("caf\udce9.wav") == "caf\\xe9.wav"
    assert utf8_name("café.wav") == "café.wav"
