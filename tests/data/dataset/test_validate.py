"""``earful check``: counts, and every problem by its line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earful.data.dataset.reader import ClipAudio
from earful.data.dataset.validate import CheckReport, check_labels
from earful.data.labels.clip import Clip
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.text_file import LabelsError


def check(tmp_path: Path, lines: list[str], audio_dir: Path | None = None) -> CheckReport:
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return check_labels(
        read_labels(tmp_path / "labels.csv", CsvOptions(audio_dir)), lambda done, total: None
    )


@pytest.fixture
def good_rows(write_wav: Callable[..., Path]) -> list[str]:
    """Lines 1 to 5: clips of 0.5 to 2 s at two sample rates."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    for name, n_samples, rate_hz in (
        ("a", 4_000, 8_000),
        ("b", 8_000, 8_000),
        ("c", 16_000, 8_000),
        ("d", 16_000, 16_000),
    ):
        write_wav(f"{name}.wav", noise[:n_samples], rate_hz)
    return [
        "filename,label,speaker,split",
        "a.wav,10,ann,train",
        "b.wav,10,bob,train",
        "c.wav,2,ann,test",
        "d.wav,2,,test",
    ]


def test_labels_speakers_and_durations_are_counted(tmp_path: Path, good_rows: list[str]) -> None:
    report = check(tmp_path, good_rows)
    assert (report.rows, report.usable, report.problems) == (4, 4, ())
    assert [*report.by_label.items()] == [("2", 2), ("10", 2)]  # in natural order
    assert report.by_speaker == {"ann": 2, "bob": 1}
    assert report.by_split == {"test": 2, "train": 2}
    assert report.by_sample_rate_hz == {8_000: 3, 16_000: 1}
    assert report.total_seconds == pytest.approx(0.5 + 1 + 2 + 1)
    assert (report.shortest_seconds, report.longest_seconds) == pytest.approx((0.5, 2))
    assert report.summary_lines()[0] == "4 rows, 4 usable, 2 labels, 2 speakers"


def test_every_problem_is_reported_by_line(tmp_path: Path, good_rows: list[str]) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:500])
    bad = [
        "gone.wav,2,ann,test",
        "text.wav,2,ann,test",
        "cut.wav,10,ann,test",
        "e.wav,,ann,test",
        "f.wav,2,ann,third",
        "a.wav,10,ann,train",
        "./b.wav,once,ann",
    ]
    report = check(tmp_path, [*good_rows, *bad])
    assert [(p.line, p.code) for p in report.problems] == [
        (6, "not_found"),
        (7, "unsupported_format"),
        (8, "truncated"),
        (9, "bad_row"),
        (10, "bad_row"),
        (11, "bad_row"),
        (12, "bad_row"),
    ]
    assert (report.rows, report.usable) == (11, 4)
    assert [p.filename for p in report.problems][:3] == ["gone.wav", "text.wav", "cut.wav"]


def test_label_with_a_single_clip_is_a_problem(tmp_path: Path, good_rows: list[str]) -> None:
    report = check(tmp_path, [*good_rows[:4], "d.wav,once,,test"])
    assert [(p.line, p.filename, p.code) for p in report.problems] == [
        (4, "c.wav", "single_clip_label"),
        (5, "d.wav", "single_clip_label"),
    ]
    assert "'once'" in report.problems[1].message


def test_segment_is_measured_and_must_lie_inside_the_file(
    tmp_path: Path, good_rows: list[str]
) -> None:
    lines = ["filename,label,start,end", "c.wav,x,0.5,0.75", "c.wav,x,1,1.5", "c.wav,x,1.5,2.5"]
    report = check(tmp_path, lines)
    assert report.total_seconds == pytest.approx(0.75)
    assert [(p.line, p.code) for p in report.problems] == [(4, "bad_segment")]


def test_progress_is_reported_for_every_file(tmp_path: Path, good_rows: list[str]) -> None:
    (tmp_path / "labels.csv").write_text("\n".join(good_rows))
    calls: list[tuple[int, int]] = []
    check_labels(
        read_labels(tmp_path / "labels.csv"), lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_usable_clips_are_passed_on_at_their_native_rate(
    tmp_path: Path, good_rows: list[str]
) -> None:
    (tmp_path / "labels.csv").write_text("\n".join([*good_rows, "gone.wav,2,ann,test"]))
    calls: list[tuple[int, int, int]] = []

    def on_clip(clip: Clip, audio: ClipAudio) -> None:
        calls.append((clip.line, len(audio.waveform), audio.source_rate_hz))

    check_labels(read_labels(tmp_path / "labels.csv"), lambda done, total: None, on_clip)
    assert calls == [(2, 4_000, 8_000), (3, 8_000, 8_000), (4, 16_000, 8_000), (5, 16_000, 16_000)]


def test_report_is_json(tmp_path: Path, good_rows: list[str]) -> None:
    report = check(tmp_path, [*good_rows, "gone.wav,2,ann,test"])
    stored = json.loads(json.dumps(report.to_dict()))
    assert (stored["rows"], stored["usable"]) == (5, 4)
    assert stored["problems"][0]["filename"] == "gone.wav"
    assert stored["problems"][0].keys() == {"line", "filename", "code", "message"}


def test_files_are_found_in_the_audio_folder(
    tmp_path: Path, good_rows: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in tmp_path.glob("*.wav"):
        path.rename(elsewhere / path.name)
    report = check(tmp_path, good_rows)
    assert report.usable == 0
    assert "4 of 4 files are not in" in report.notes[0]
    assert check(tmp_path, good_rows, elsewhere).usable == 4


def test_no_usable_clip_still_gives_a_report(tmp_path: Path) -> None:
    report = check(tmp_path, ["filename,label", "gone.wav,x", "gone_too.wav,"])
    assert (report.rows, report.usable, report.longest_seconds) == (2, 0, 0.0)
    assert len(report.problems) == 3
    assert report.summary_lines()[0] == "2 rows, 0 usable, 1 labels, no speaker column"


def test_unreadable_csv_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="is empty"):
        check(tmp_path, [])


def test_real_recordings_have_no_problem(fsdd: Path, tmp_path: Path) -> None:
    lines = (fsdd / "labels_full.csv").read_text("utf-8").splitlines()
    report = check(tmp_path, [lines[0], *lines[1::50]], fsdd / "recordings")
    assert (report.usable, report.problems) == (60, ())
    assert report.by_sample_rate_hz == {8_000: 60}
