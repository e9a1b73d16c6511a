"""``prepare``: features equal librosa's, tables match the files, output is all or nothing."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from earful.data.atomic_write import OutputError
from earful.data.dataset.dataset import CLIP_COLUMNS, DatasetError, open_dataset
from earful.data.dataset.prepare import PrepareResult, prepare
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.splits import SplitError

RATE_HZ = 8_000
FEATURES = FeatureConfig.for_rate(RATE_HZ)


def tone(pitch_hz: float, seconds: float, seed: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).uniform(-0.01, 0.01, len(time))
    return 0.3 * np.sin(2 * np.pi * pitch_hz * time) + noise


@pytest.fixture
def rows(tmp_path: Path, write_wav: Callable[..., Path]) -> list[str]:
    """CSV lines: twelve clips of two labels and four speakers in ``audio/``."""
    lines = ["filename,label,speaker"]
    for n in range(12):
        label, pitch_hz = ("low", 300) if n % 2 else ("high", 1500)
        write_wav(f"audio/{n}.wav", tone(pitch_hz, 0.5 + 0.05 * n, seed=n))
        lines.append(f"{n}.wav,{label},s{n // 3}")
    return lines


def run(tmp_path: Path, lines: list[str], **options: object) -> PrepareResult:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    labelled = read_labels(path, CsvOptions(tmp_path / "audio"))
    options = {"features": FEATURES, **options}
    return prepare(labelled, tmp_path / "out" / "dataset", **options)  # type: ignore[arg-type]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_features_of_real_recordings_match_librosa(fsdd: Path, tmp_path: Path) -> None:
    lines = (fsdd / "labels_full.csv").read_text("utf-8").splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([lines[0], *lines[1::25]]))
    labelled = read_labels(tmp_path / "labels.csv", CsvOptions(fsdd / "recordings"))
    prepare(labelled, tmp_path / "out", split="random")
    opened = open_dataset(tmp_path / "out")
    config = opened.features
    assert config == FeatureConfig.for_rate(8_000)
    short = 0
    for i, clip in enumerate(labelled.clips):
        samples, rate_hz = soundfile.read(clip.path, dtype="float64")
        stored = np.asarray(opened.array("waveforms")[i], np.float64)
        if len(samples) <= 8_000:
            short += 1
            before = (8_000 - len(samples)) // 2
            np.testing.assert_array_equal(stored[before : before + len(samples)], samples)
        mel = librosa.feature.melspectrogram(
            y=stored,
            sr=rate_hz,
            n_fft=256,
            hop_length=128,
            n_mels=40,
            fmin=20,
            fmax=4000,
            pad_mode="constant",
        )
        log_mel = librosa.power_to_db(mel, ref=1.0, top_db=None)
        mfcc = librosa.feature.mfcc(S=log_mel, n_mfcc=40)
        np.testing.assert_allclose(opened.array("log_mel")[i], log_mel, rtol=0, atol=1e-3)
        np.testing.assert_allclose(opened.array("mfcc")[i], mfcc, rtol=0, atol=1e-3)
    assert short > 100


def test_clip_table_matches_the_files(tmp_path: Path, rows: list[str]) -> None:
    run(tmp_path, rows)
    written = table(tmp_path / "out" / "dataset" / "clips.csv")
    assert tuple(written[0]) == CLIP_COLUMNS
    for i, (row, line) in enumerate(zip(written, rows[1:], strict=True)):
        path = tmp_path / "audio" / f"{i}.wav"
        samples, _ = soundfile.read(path)
        assert [row["filename"], row["label"], row["speaker"]] == line.split(",")
        assert (row["id"], row["start"], row["end"]) == (str(i), "", "")
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert float(row["seconds"]) == pytest.approx(len(samples) / RATE_HZ)
        peak, rms = np.abs(samples).max(), np.sqrt(np.mean(samples**2))
        assert float(row["peak_dbfs"]) == pytest.approx(20 * np.log10(peak), abs=0.006)
        assert float(row["rms_dbfs"]) == pytest.approx(20 * np.log10(rms), abs=0.006)


def test_manifest_matches_the_returned_summary(tmp_path: Path, rows: list[str]) -> None:
    progress_calls: list[tuple[int, int]] = []
    prepared = run(
        tmp_path, rows, progress=lambda done, total: progress_calls.append((done, total))
    )
    manifest = json.loads((prepared.folder / "dataset.json").read_text("utf-8"))
    assert manifest.pop("content_hash").isalnum()
    assert manifest == {
        "schema_version": 3,
        "labels": ["high", "low"],
        "features": FeatureConfig.for_rate(RATE_HZ).to_dict(),
        "split_mode": "speaker",
        "columns": {"filename": "filename", "label": "label", "speaker": "speaker"},
        "counts": {
            "clips": 12,
            "by_split": prepared.by_split,
            "by_label": {"high": 6, "low": 6},
        },
    }
    assert (prepared.clips, prepared.labels, prepared.skipped) == (12, ("high", "low"), ())
    assert progress_calls == [(done, 12) for done in range(1, 13)]


def test_content_hash_depends_on_the_audio(tmp_path: Path, rows: list[str]) -> None:
    def content_hash() -> str:
        return open_dataset(run(tmp_path, rows).folder).content_hash

    first = content_hash()
    assert content_hash() == first
    soundfile.write(tmp_path / "audio" / "3.wav", tone(301, 0.65), RATE_HZ)
    assert content_hash() != first


def test_arrays_are_memory_mapped_and_in_the_order_of_the_table(
    tmp_path: Path, rows: list[str]
) -> None:
    opened = open_dataset(run(tmp_path, rows).folder)
    shapes = {"waveforms": (12, 8000), "mfcc": (12, 40, 63), "log_mel": (12, 40, 63)}
    for name, shape in shapes.items():
        array = opened.array(name)
        assert isinstance(array, np.memmap)
        assert (array.shape, array.dtype) == (shape, np.float32)
    loudest_bands = opened.array("log_mel").mean(axis=2).argmax(axis=1)
    assert (loudest_bands[1::2] < loudest_bands[::2]).all()  # low, high, low, ...


def test_more_clips_than_a_batch_are_all_written(
    tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    for n in range(130):
        write_wav(f"audio/{n}.wav", np.full(100, n / 200), subtype="FLOAT")
    lines = ["filename,label", *(f"{n}.wav,l{n % 2}" for n in range(130))]
    opened = open_dataset(run(tmp_path, lines).folder)
    np.testing.assert_allclose(opened.array("waveforms").max(axis=1), np.arange(130) / 200)


def test_long_clip_is_cropped_to_its_loudest_part(
    tmp_path: Path, rows: list[str], write_wav: Callable[..., Path]
) -> None:
    long = 0.001 * tone(200, 4.0)
    long[20_000:22_000] += tone(700, 0.25)
    write_wav("audio/long.wav", long)
    prepared = run(tmp_path, [*rows, "long.wav,low,s0"])
    assert prepared.cropped_clips == sum(0.5 + 0.05 * n > 1 for n in range(12)) + 1
    stored = open_dataset(prepared.folder).array("waveforms")[12]
    loud = np.flatnonzero(np.abs(stored) > 0.01)
    assert len(loud) > 1500
    assert abs((loud[0] + loud[-1]) / 2 - 4000) < 300
    assert any("cropped to their loudest part" in note for note in prepared.notes())


def test_segments_of_one_file_are_separate_clips(
    tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    ramp = np.linspace(0, 0.9, 10 * RATE_HZ)
    write_wav("audio/long.wav", ramp, subtype="FLOAT")
    lines = ["file,label,start,end", *(f"long.wav,l{n % 2},{n},{n + 0.5}" for n in range(10))]
    prepared = run(tmp_path, lines)
    stored = open_dataset(prepared.folder).array("waveforms")
    for n in range(10):
        expected = ramp[n * RATE_HZ : n * RATE_HZ + 4000].astype(np.float32)
        np.testing.assert_array_equal(stored[n, 2000:6000], expected)
    assert prepared.leaked_test_clips == prepared.by_split["test"]
    assert table(prepared.folder / "clips.csv")[3]["start"] == "3.0"


def test_default_rate_is_the_most_common_one_up_to_16_khz(
    tmp_path: Path, rows: list[str], write_wav: Callable[..., Path]
) -> None:
    for n in range(12):
        write_wav(f"audio/{n}.wav", tone(500, 1.0), 11_025 if n < 7 else 44_100)
    assert run(tmp_path, rows, features=None).features.sample_rate_hz == 11_025
    for n in range(12):
        write_wav(f"audio/{n}.wav", tone(500, 1.0), 44_100)
    assert run(tmp_path, rows, features=None).features.sample_rate_hz == 16_000


@pytest.fixture
def bad_rows(tmp_path: Path, rows: list[str]) -> list[str]:
    """Lines 14 to 17: a missing file, a non-audio file, a truncated file, no label."""
    (tmp_path / "audio" / "text.wav").write_text("not audio")
    whole = (tmp_path / "audio" / "0.wav").read_bytes()
    (tmp_path / "audio" / "cut.wav").write_bytes(whole[:1000])
    return [*rows, "gone.wav,low,s0", "text.wav,low,s1", "cut.wav,high,s2", "nolabel.wav,,s3"]


def test_bad_rows_fail_the_run_and_write_nothing(tmp_path: Path, bad_rows: list[str]) -> None:
    with pytest.raises(DatasetError, match=r"line 17.*column label"):
        run(tmp_path, bad_rows)
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_files_are_all_listed_and_nothing_is_written(
    tmp_path: Path, bad_rows: list[str]
) -> None:
    with pytest.raises(DatasetError, match=r"^3 rows cannot be used") as error:
        run(tmp_path, bad_rows[:-1])
    for line, name, code in (
        (14, "gone.wav", "not_found"),
        (15, "text.wav", "unsupported_format"),
        (16, "cut.wav", "truncated"),
    ):
        assert f"line {line}, {name}: " in str(error.value)
        assert f"[{code}]" in str(error.value)
    assert str(error.value).count("note: 1 of 15 files are not in") == 1
    assert [*(tmp_path / "out").iterdir()] == []


def test_skip_bad_keeps_the_rest_and_lists_what_is_skipped(
    tmp_path: Path, bad_rows: list[str]
) -> None:
    prepared = run(tmp_path, bad_rows, skip_bad=True)
    assert prepared.clips == len(table(prepared.folder / "clips.csv")) == 12
    assert {(s.line, s.code) for s in prepared.skipped} == {
        (14, "not_found"),
        (15, "unsupported_format"),
        (16, "truncated"),
        (17, "bad_row"),
    }
    listed = table(prepared.folder / "skipped.csv")
    assert {int(row["line"]) for row in listed} == {14, 15, 16, 17}
    assert sum(note.startswith("skipped line") for note in prepared.notes()) == 4


def test_impossible_split_leaves_nothing_behind(tmp_path: Path, rows: list[str]) -> None:
    with pytest.raises(SplitError, match="needs a split for every clip"):
        run(tmp_path, rows, split="column")
    assert [*(tmp_path / "out").iterdir()] == []


def test_dataset_without_usable_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    with pytest.raises(DatasetError, match=r"no usable row is left:\n  line 2, gone.wav"):
        run(tmp_path, ["filename,label", "gone.wav,x"], skip_bad=True)


def test_foreign_folder_is_not_overwritten(tmp_path: Path, rows: list[str]) -> None:
    mine = tmp_path / "out" / "dataset" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    with pytest.raises(OutputError, match=r"dataset\.json is missing"):
        run(tmp_path, rows)
    assert mine.read_text() == "keep"


def test_earlier_dataset_is_replaced(tmp_path: Path, rows: list[str]) -> None:
    run(tmp_path, rows)
    prepared = run(tmp_path, [rows[0], *rows[3:]])
    assert len(open_dataset(prepared.folder).clips) == 10
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset"]


@pytest.mark.parametrize(("split", "warned"), [("speaker", False), ("random", True)])
def test_speakers_in_several_splits_are_reported(
    tmp_path: Path, rows: list[str], split: str, warned: bool
) -> None:
    prepared = run(tmp_path, rows, split=split)
    assert (
        any("speakers are in the test part and outside it" in n for n in prepared.notes()) == warned
    )


def test_missing_test_split_is_reported(tmp_path: Path, rows: list[str]) -> None:
    parts = [f"{row},{'val' if n < 4 else 'train'}" for n, row in enumerate(rows[1:])]
    untested = run(tmp_path, [f"{rows[0]},split", *parts], split="column")
    assert any("there is no test part" in note for note in untested.notes())
    assert not any("there is no test part" in note for note in run(tmp_path, rows).notes())


def with_folds(tmp_path: Path, lines: list[str], folds: list[str]) -> LabelledClips:
    """The clips of CSV lines with a fold each."""
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    labelled = read_labels(path, CsvOptions(tmp_path / "audio"))
    clips = tuple(replace(c, fold=f) for c, f in zip(labelled.clips, folds, strict=True))
    names = (("label", "category"), ("fold", "fold"))
    return replace(labelled, clips=clips, columns=labelled.columns | {"fold"}, column_names=names)


def test_folds_are_kept_decide_the_split_and_are_said(tmp_path: Path, rows: list[str]) -> None:
    folds = [str(n // 4 + 9) for n in range(12)]
    out = tmp_path / "out"
    prepared = prepare(with_folds(tmp_path, rows, folds), out, features=FEATURES)
    opened = open_dataset(out)
    assert opened.clips["fold"].tolist() == folds
    assert opened.clips["split"].tolist() == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert {row["fold"] for row in table(out / "test.csv")} == {"11"}
    assert json.loads((out / "dataset.json").read_text())["columns"]["label"] == "category"
    [note] = [note for note in prepared.notes() if "fold" in note]
    assert "of 3 folds, '11' is held back for testing, '10' for validation" in note
    assert f"crossval {out} --folds column" in note
    unused = prepare(with_folds(tmp_path, rows, folds), out, features=FEATURES, split="speaker")
    assert "the 3 folds of the clips are not used (--split fold)" in unused.notes()


def test_content_hash_depends_on_folds_where_there_are_any(tmp_path: Path, rows: list[str]) -> None:
    def content_hash(folds: list[str]) -> str:
        out = tmp_path / "out"
        prepare(with_folds(tmp_path, rows, folds), out, features=FEATURES, split="speaker")
        return open_dataset(out).content_hash

    assert content_hash(["1", "2"] * 6) != content_hash(["2", "1"] * 6)
    assert content_hash([""] * 12) == open_dataset(run(tmp_path, rows).folder).content_hash
