"""Long recordings give a row per event: modes, thresholds, background labels, damaged files."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from typer.testing import Result

import earful as api
from earful.data.audio.decode import AudioLimits, Waveform
from earful.data.errors import EarfulError
from earful.service.batch import input_reader
from tests.fixtures.synthetic_audio import RATE_HZ, noise, overlay_at, tone, wav
from tests.service.batch.conftest import DAY_SOUNDS, day

Earful = Callable[..., Result]
Row = dict[str, str]
COLUMNS = ["filename", "start", "end", "label", "score", "status", "error"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording with four sounds, one of noise, and one of 1.5 clips."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "day.wav").write_bytes(wav(day()))
    (folder / "quiet.wav").write_bytes(wav(noise(6.0, 0.01)))
    (folder / "short.wav").write_bytes(wav(overlay_at(tone("mid"), 0.5, noise(1.5, 1e-4))))
    return folder


@pytest.fixture
def classify(earful: Earful, model: Path) -> Callable[..., list[Row]]:
    """The rows of ``earful classify`` with the model of the tones."""

    def run(*arguments: object, code: int = 0, model: Path = model) -> list[Row]:
        done = earful("classify", *arguments, "--model", model)
        if isinstance(done.exception, EarfulError):
            raise done.exception
        assert done.exit_code == code, done.output
        return list(csv.DictReader(io.StringIO(done.stdout)))

    return run


Classify = Callable[..., list[Row]]


def assert_events(rows: list[Row], sounds: list[tuple[str, float, float]] = DAY_SOUNDS) -> None:
    assert [row["label"] for row in rows] == [label for label, _, _ in sounds]
    for row, (_, start, end) in zip(rows, sounds, strict=True):
        assert float(row["start"]) == pytest.approx(start, abs=0.06)
        assert float(row["end"]) == pytest.approx(end, abs=0.06)
        assert float(row["score"]) > 0.5
        assert (row["status"], row["error"]) == ("ok", "")


def named(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if Path(row["filename"]).name == name]


def test_long_recordings_give_a_row_per_event_and_short_ones_a_row(
    classify: Classify, folder: Path
) -> None:
    rows = classify(folder)
    assert list(rows[0]) == COLUMNS
    assert_events(named(rows, "day.wav"))
    [quiet], [short] = named(rows, "quiet.wav"), named(rows, "short.wav")
    assert (quiet["label"], quiet["score"], quiet["status"]) == ("", "", "ok")
    assert (quiet["start"], quiet["end"]) == ("0.000", "6.000")
    assert (short["label"], short["start"], short["end"]) == ("mid", "0.000", "1.500")


@pytest.mark.parametrize(("mode", "counts"), [("file", (1, 1)), ("windows", (23, 3))])
def test_other_modes_are_the_same_for_long_and_short_recordings(
    classify: Classify, folder: Path, mode: str, counts: tuple[int, int]
) -> None:
    rows = classify(folder, "--mode", mode)
    day_rows, short_rows = named(rows, "day.wav"), named(rows, "short.wav")
    assert (len(day_rows), len(short_rows)) == counts
    assert day_rows[-1]["end"] == "6.500"
    assert all(row["label"] for row in rows)


def test_mode_events_finds_the_event_of_a_short_recording(classify: Classify, folder: Path) -> None:
    rows = classify(folder, "--mode", "events")
    assert_events(named(rows, "day.wav"))
    assert_events(named(rows, "short.wav"), [("mid", 0.5, 0.9)])


def test_lists_with_labels_keep_one_answer_a_file(
    earful: Earful, classify: Classify, model: Path, folder: Path
) -> None:
    labels = folder / "labels.csv"
    labels.write_text("filename,label\nday.wav,mid\nshort.wav,mid\n", encoding="utf-8")
    rows = classify(labels)
    assert [(row["end"], row["expected"]) for row in rows] == [("6.500", "mid"), ("1.500", "mid")]
    done = earful("classify", labels, "--model", model, "--mode", "events")
    assert len(done.stdout.splitlines()) == 6
    assert "accuracy" not in done.stderr


def test_events_of_a_segment_have_times_of_the_recording(
    classify: Classify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = folder / "segments.csv"
    segments.write_text("filename,start,end\nday.wav,1.5,4.5\nday.wav,1.9,2.6\n", encoding="utf-8")
    rows = classify(segments)
    assert_events(rows[:2], DAY_SOUNDS[1:3])
    assert [(row["label"], row["start"], row["end"]) for row in rows[2:]] == [
        ("high", "1.900", "2.600")
    ]
    limits = AudioLimits(max_bytes=1000, max_seconds=1)
    monkeypatch.setattr(input_reader, "IN_MEMORY_LIMITS", limits)
    assert classify(segments) == rows


def test_events_are_those_of_the_python_api_however_the_recording_is_read(
    classify: Classify, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = classify(folder / "day.wav")
    events = api.load(model).events(folder / "day.wav")
    assert [(f"{e.start:.3f}", f"{e.end:.3f}", e.label, f"{e.score:.6f}") for e in events] == [
        (row["start"], row["end"], row["label"], row["score"]) for row in rows
    ]
    before = classify(folder)
    monkeypatch.setattr(input_reader, "IN_MEMORY_LIMITS", AudioLimits(max_bytes=1000))
    assert classify(folder) == before


def test_the_models_threshold_applies_to_events_whether_or_not_files_are_rejected(
    classify: Classify, rejecting_model: Path, folder: Path
) -> None:
    (folder / "short.wav").write_bytes(wav(noise(1.0, 0.1)))
    every = classify(folder / "day.wav", "--reject", "--min-score", 0.5, model=rejecting_model)
    assert_events(every)
    sure = [row for row in every if float(row["score"]) >= 0.9999]
    assert len(sure) < len(every)
    for options, answer in (([], "low mid high"), (["--reject"], "unknown")):
        rows = classify(folder, *options, model=rejecting_model)
        found = [row for row in named(rows, "day.wav") if row["label"]]
        assert found == sure
        [short] = named(rows, "short.wav")
        assert short["label"] in answer.split()


def test_top_k_adds_the_next_labels_of_events(classify: Classify, folder: Path) -> None:
    rows = classify(folder, "--top-k", 3)
    assert list(rows[0]) == [*COLUMNS, "label_2", "score_2", "label_3", "score_3"]
    for row in named(rows, "day.wav"):
        assert {row["label"], row["label_2"], row["label_3"]} == {"low", "mid", "high"}
        assert float(row["score"]) >= float(row["score_2"]) >= float(row["score_3"])
    [quiet] = named(rows, "quiet.wav")
    assert (quiet["label_2"], quiet["score_3"]) == ("", "")


@pytest.fixture(scope="session")
def background_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the tones, in which the low one is named ``Noise``."""
    graph = onnx.load(model)
    for prop in graph.metadata_props:
        if prop.key == "earful.labels":
            labels = ["Noise" if label == "low" else label for label in json.loads(prop.value)]
            prop.value = json.dumps(labels)
    path = tmp_path_factory.mktemp("background") / "background.onnx"
    onnx.save(graph, path)
    return path


def test_background_labels_give_no_event(
    classify: Classify, background_model: Path, folder: Path
) -> None:
    def labels(*options: object) -> list[str]:
        rows = classify(folder / "day.wav", *options, model=background_model)
        return [row["label"] for row in rows]

    assert labels() == ["high", "mid", "high"]
    assert labels("--background", "HIGH") == ["Noise", "mid"]
    assert labels("--background", "mid", "--background", "noise") == ["high", "high"]
    assert labels("--background", "") == ["Noise", "high", "mid", "high"]
    with pytest.raises(
        EarfulError, match=r"--background hihg names no label of the model, .* high"
    ):
        labels("--background", "hihg")


def test_labels_may_have_scores_of_their_own(classify: Classify, folder: Path) -> None:
    def labels(*options: object) -> list[str]:
        return [row["label"] for row in classify(folder / "day.wav", *options)]

    everything = labels("--min-score", "0")
    assert "high" in everything
    without = [label for label in everything if label != "high"]
    assert labels("--min-score", "0", "--min-score", "high=1") == without
    with pytest.raises(EarfulError, match=r"--min-score hihg=1 names no label of the model"):
        labels("--min-score", "hihg=1")


def cut(folder: Path, form: str, seconds: float = 30.0) -> Path:
    """A file that ends in the middle: the sounds of ``day`` are before, another one is after."""
    sound = overlay_at(tone("low"), seconds - 1, day(seconds))
    soundfile.write(folder / f"cut.{form}", sound, RATE_HZ, format=form.upper())
    blob = (folder / f"cut.{form}").read_bytes()
    (folder / f"cut.{form}").write_bytes(blob[: len(blob) // 2])
    return folder / f"cut.{form}"


@pytest.mark.parametrize("form", ["wav", "flac", "aiff"])
@pytest.mark.parametrize("max_bytes", [1000, 8 << 20])
def test_a_recording_that_is_cut_off_gives_its_events_and_the_error(
    classify: Classify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    max_bytes: int,
) -> None:
    monkeypatch.setattr(input_reader, "IN_MEMORY_LIMITS", AudioLimits(max_bytes=max_bytes))
    path = cut(tmp_path, form)
    *events, failed = classify(path, code=1)
    assert_events(events)
    assert (failed["status"], failed["label"], failed["start"]) == ("error", "", "")
    assert failed["error"].startswith("truncated: ")
    [failed] = classify(path, "--mode", "file", code=1)
    assert failed["error"].startswith("truncated: ")


def test_a_short_recording_that_is_cut_off_gives_the_error_only(
    classify: Classify, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone("mid", seconds=1.4))[:-100])
    [failed] = classify(tmp_path / "a.wav", code=1)
    assert failed["error"].startswith("truncated: ")


def test_events_before_samples_that_are_no_numbers_are_kept(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earful.data.audio.stream_reader._BLOCK_BYTES", 4096)
    sound = day()
    sound[-10:] = np.nan
    (tmp_path / "a.wav").write_bytes(wav(sound, subtype="FLOAT"))
    *events, failed = classify(tmp_path / "a.wav", code=1)
    assert_events(events)
    assert failed["error"].startswith("not_finite: ")


def test_a_sound_at_the_end_is_an_event_up_to_the_end(classify: Classify, tmp_path: Path) -> None:
    sound = overlay_at(tone("mid", 0.6), 2.0, noise(2.6, 1e-4))[: round(2.305 * RATE_HZ)]
    (tmp_path / "a.wav").write_bytes(wav(sound))
    [row] = classify(tmp_path / "a.wav")
    assert_events([row], [("mid", 2.0, 2.305)])
    assert float(row["end"]) <= 2.305


@pytest.mark.parametrize(
    ("sound", "end"),
    [
        (np.zeros(120 * RATE_HZ), "120.000"),
        (np.ones(10 * RATE_HZ), "10.000"),
        (np.full(1, 0.5), "0.000"),
    ],
)
def test_recordings_without_events_have_a_row_without_a_label(
    classify: Classify, tmp_path: Path, sound: Waveform, end: str
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(sound))
    [row] = classify(tmp_path / "a.wav", "--mode", "events")
    assert (row["label"], row["score"], row["start"], row["end"]) == ("", "", "0.000", end)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--windows"], "--mode windows"),
        (["--merge"], "--mode events"),
        (["--hop-seconds", "1"], "add --mode windows"),
        (["--hop-seconds", "1", "--mode", "events"], "add --mode windows"),
        (["--min-score", "0.5", "--mode", "file"], "leave out --mode file"),
        (["--background", "low", "--mode", "windows"], "leave out --mode windows"),
    ],
)
def test_options_that_the_mode_does_not_use_are_refused(
    classify: Classify, folder: Path, options: list[str], message: str
) -> None:
    with pytest.raises(EarfulError, match=message):
        classify(folder, *options)
