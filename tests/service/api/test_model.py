"""``earful.load``: files, bytes and arrays give what the classifier and the stream give."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from earful.data.audio.decode import AudioError, Waveform, resample
from earful.data.errors import EarfulError, UsageError
from earful.models.registry.registry import Registry
from earful.service.api.model import Model, SourceError, load
from earful.service.classifier import Classifier, Prediction
from earful.service.events import Event
from tests.fixtures.server import running_server
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, noise, overlay_at, tone, wav
from tests.service.http.test_stream_route import OPENING, exchange, open_stream
from tests.service.server.test_imports import NEVER_WHILE_SERVING

METHODS = ("classify", "events", "embed")


@pytest.fixture(scope="module")
def opened(model: Path) -> Model:
    return load(model)


def int16(waveform: Waveform) -> np.ndarray:
    """The samples of ``wav(waveform)``."""
    samples, _ = soundfile.read(io.BytesIO(wav(waveform)), dtype="int16")
    return samples


def recording(seconds: float = 25.0) -> Waveform:
    """Tones in low noise; two of them cross a boundary of ten seconds."""
    sound = noise(seconds, 1e-4)
    for start, label in ((0.5, "low"), (9.8, "high"), (14.0, "mid"), (19.7, "low")):
        sound = overlay_at(tone(label), start, sound)
    return sound


def assert_same_scores(prediction: Prediction, expected: Prediction) -> None:
    np.testing.assert_array_equal(prediction.best.scores, expected.best.scores)
    assert (prediction.label, prediction.seconds) == (expected.label, expected.seconds)


def test_path_and_bytes_give_the_prediction_of_the_classifier(
    opened: Model, classifier: Classifier, tones: Path
) -> None:
    for label in PITCHES_HZ:
        path = tones / f"{label}.wav"
        expected = classifier.classify_file(path)
        assert expected.label == label
        blob = path.read_bytes()
        for source in (path, str(path), blob, bytearray(blob), memoryview(blob)):
            assert_same_scores(opened.classify(source), expected)
    assert opened.labels == classifier.labels
    assert opened.sample_rate == RATE_HZ


def test_prediction_has_a_label_a_score_and_ordered_scores(opened: Model) -> None:
    prediction = opened.classify(tone("mid"), RATE_HZ)
    assert prediction.label == "mid"
    assert list(prediction.scores) == [label for label, _ in prediction.ranked()]
    assert prediction.score == prediction.scores["mid"] == max(prediction.scores.values())


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, np.int64(48_000), 22_050.0])
def test_array_at_another_rate_is_resampled(
    opened: Model, classifier: Classifier, rate_hz: Any
) -> None:
    sound = tone("high", rate_hz=int(rate_hz))
    [expected] = classifier.classify([resample(sound, int(rate_hz), RATE_HZ)])
    assert expected.label == "high"
    assert_same_scores(opened.classify(sound, sample_rate=rate_hz), expected)


def test_stereo_is_averaged(opened: Model, classifier: Classifier) -> None:
    left, right = tone("mid", level=0.4), noise(0.4, 0.01)
    stereo = np.stack([left, right], axis=1)
    before = stereo.copy()
    [expected] = classifier.classify([stereo.mean(axis=1)])
    assert_same_scores(opened.classify(stereo, RATE_HZ), expected)
    np.testing.assert_array_equal(stereo, before)
    with pytest.raises(SourceError, match=r"found shape \(2, 3200\); transpose"):
        opened.classify(stereo.T, RATE_HZ)


def test_arrays_of_each_number_type_have_their_full_scale(opened: Model) -> None:
    sound = tone("low")
    samples = int16(sound)
    expected = opened.classify(wav(sound))
    unsigned = (samples.astype(np.int32) + 32_768).astype(np.uint16)
    equal = {
        "int16": samples,
        "big-endian int16": samples.astype(">i2"),
        "int32": samples.astype(np.int32) << 16,
        "uint16": unsigned,
        "float32": samples.astype(np.float32) / 32_768,
        "float64": samples / 32_768,
        "a list": (samples / 32_768).tolist(),
    }
    for source in equal.values():
        assert_same_scores(opened.classify(source, RATE_HZ), expected)
    eight_bits = (unsigned >> 8).astype(np.uint8)
    as_floats = (eight_bits.astype(np.float32) - 128) / 128
    assert_same_scores(opened.classify(eight_bits, RATE_HZ), opened.classify(as_floats, RATE_HZ))
    with pytest.raises(SourceError, match="int64 samples have no known full scale"):
        opened.classify(samples.astype(np.int64), RATE_HZ)


@pytest.mark.parametrize("method", METHODS)
def test_sample_rate_belongs_to_arrays_only(opened: Model, tones: Path, method: str) -> None:
    call = getattr(opened, method)
    with pytest.raises(SourceError, match="an array needs its rate in Hz"):
        call(tone("low"))
    for source in (tones / "low.wav", wav(tone("low"))):
        with pytest.raises(SourceError, match="a file states its own"):
            call(source, RATE_HZ)
    for rate in ("8000", 8000.5, float("nan"), float("inf"), [8000]):
        with pytest.raises(SourceError, match="sample_rate is a whole number of Hz"):
            call(tone("low"), rate)


NAN = np.where(np.arange(800) == 5, np.nan, 0.1)
UNUSABLE: dict[str, tuple[Any, int | None, str]] = {
    "no samples": (np.zeros(0, np.float32), RATE_HZ, "empty_audio"),
    "no frames": (np.zeros((0, 2), np.int16), RATE_HZ, "empty_audio"),
    "no bytes": (b"", None, "empty_audio"),
    "bytes of something else": (b"nonsense" * 99, None, "unsupported_format"),
    "NaN": (NAN, RATE_HZ, "not_finite"),
    "infinity": (NAN.astype(np.float32) * np.inf, RATE_HZ, "not_finite"),
    "opposite infinities": (np.full((800, 2), [np.inf, -np.inf]), RATE_HZ, "not_finite"),
    "beyond float32": (np.full((800, 2), 1e300), RATE_HZ, "not_finite"),
    "floats in units of int16": (np.full(800, 30_000.0), RATE_HZ, "out_of_range"),
    "1 Hz": (tone("low"), 1, "bad_sample_rate"),
    "nine channels": (np.zeros((800, 9), np.float32), RATE_HZ, "too_many_channels"),
    "a missing file": ("/no/such/file.wav", None, "not_found"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_audio_has_a_stable_code(opened: Model, name: str, method: str) -> None:
    source, sample_rate, code = UNUSABLE[name]
    with pytest.raises(AudioError) as refused:
        getattr(opened, method)(source, sample_rate)
    assert refused.value.code == code


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_file_and_a_folder_are_refused(opened: Model, tmp_path: Path, method: str) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    for source in (tmp_path / "empty.wav", tmp_path):
        with pytest.raises(AudioError):
            getattr(opened, method)(source)


@pytest.mark.parametrize(
    "source", [None, io.BytesIO(b"RIFF"), ["low", "mid"], [[0.1], [0.1, 0.2]], {}, [True, False]]
)
def test_a_source_of_another_kind_is_refused(opened: Model, source: Any) -> None:
    with pytest.raises(SourceError, match="a source is a path, the bytes of an audio file, or"):
        opened.classify(source, RATE_HZ)
    with pytest.raises(ValueError, match="or an array"):
        opened.classify(source)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (5, "int"),
        (0.5, "float"),
        ("", "an empty text"),
        ([True, False], "list of bool"),
        (np.zeros(8, np.complex64), "ndarray of complex64"),
        (np.array([0.1, "a"], object), "ndarray of object"),
        (np.zeros(8, bool), "ndarray of bool"),
        (["low"], "list"),
        (None, "NoneType"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_was_found_instead_of_a_source_is_named(
    opened: Model, source: Any, found: str, method: str
) -> None:
    for sample_rate in (None, RATE_HZ):
        with pytest.raises(SourceError, match=f"or an array of numbers; found {found}$"):
            getattr(opened, method)(source, sample_rate)


def test_a_tensor_is_an_array_unless_it_requires_gradients(opened: Model) -> None:
    tensor = torch.from_numpy(tone("high"))
    assert opened.classify(tensor, RATE_HZ).label == "high"
    with pytest.raises(SourceError, match=r"tensor\.detach\(\)\.numpy\(\)"):
        opened.classify(tensor.requires_grad_(), RATE_HZ)


def test_load_refuses_arguments_of_another_kind(model: Path) -> None:
    for arguments, message in (
        ({"model": 5}, "model is a path, found 5"),
        ({"model": ""}, "model is a path, found ''"),
        ({"device": "gpu"}, r"device is .*, found 'gpu' \(did you mean 'cuda'\?\)"),
        ({"registry": None}, "registry is a path, found None"),
    ):
        with pytest.raises(UsageError, match=message):
            load(**{"model": model, **arguments})  # type: ignore[arg-type]


def test_a_scalar_and_a_cube_are_refused(opened: Model) -> None:
    for shape in ((), (4, 4, 4)):
        with pytest.raises(SourceError, match="an array is"):
            opened.classify(np.full(shape, 0.1), RATE_HZ)


@pytest.mark.slow
def test_events_equal_those_of_the_stream(opened: Model, model: Path, tmp_path: Path) -> None:
    sound = recording()
    path = tmp_path / "recording.wav"
    path.write_bytes(wav(sound))
    events = opened.events(path)
    assert [event.label for event in events] == ["low", "high", "mid", "low"]
    assert [event.start for event in events] == pytest.approx([0.5, 9.8, 14.0, 19.7], abs=0.05)
    assert [event.end for event in events] == pytest.approx([0.9, 10.2, 14.4, 20.1], abs=0.05)

    pcm = int16(sound).astype("<i2").tobytes()
    frames = [pcm[start : start + 3_210] for start in range(0, len(pcm), 3_210)]
    with running_server(tmp_path, model) as server, open_stream(server) as socket:
        replies = exchange(socket, OPENING, *frames, {"type": "end"})
    streamed = [reply for reply in replies if reply["type"] == "event"]
    assert [(e.start, e.end, e.label) for e in events] == [
        (reply["start"], reply["end"], reply["label"]) for reply in streamed
    ]
    np.testing.assert_allclose(
        [event.score for event in events], [reply["score"] for reply in streamed], atol=1e-5
    )


def test_events_of_a_path_its_bytes_and_its_samples_are_equal(
    opened: Model, tmp_path: Path
) -> None:
    sound = recording()
    path = tmp_path / "recording.wav"
    path.write_bytes(wav(sound))
    expected = opened.events(path)
    assert len(expected) == 4
    for events in (opened.events(path.read_bytes()), opened.events(int16(sound), RATE_HZ)):
        assert_same_events(events, expected)


def assert_same_events(events: list[Event], expected: list[Event]) -> None:
    assert [(e.start, e.end, e.label) for e in events] == [
        (e.start, e.end, e.label) for e in expected
    ]
    np.testing.assert_allclose([e.score for e in events], [e.score for e in expected], atol=1e-5)


def test_short_sounds_and_silence(opened: Model) -> None:
    [event] = opened.events(tone("high", 0.3), RATE_HZ)
    assert event.label == "high"
    assert 0 <= event.start < 0.05
    assert event.end == pytest.approx(0.3, abs=0.05)
    assert opened.events(np.zeros(3 * RATE_HZ, np.float32), RATE_HZ) == []
    assert opened.events(np.zeros(1, np.float32), RATE_HZ) == []


def test_labels_of_the_background_are_no_events(opened: Model) -> None:
    sound = overlay_at(tone("high"), 1.8, overlay_at(tone("low"), 0.5, noise(3.0, 1e-4)))
    kept = opened.events(sound, RATE_HZ, background=["low"])
    assert [event.label for event in kept] == ["high"]
    with pytest.raises(UsageError, match="background lwo names no label of the model"):
        opened.events(sound, RATE_HZ, background=["lwo"])
    with pytest.raises(UsageError, match="background is a list of labels"):
        opened.events(sound, RATE_HZ, background="low")


def test_minimum_score_drops_events(opened: Model) -> None:
    sound = recording()
    scores = [event.score for event in opened.events(sound, RATE_HZ, min_score=0.0)]
    limit = float(np.median(scores))
    kept = [event.score for event in opened.events(sound, RATE_HZ, min_score=limit)]
    assert kept == [score for score in scores if score >= limit]
    for wrong in (1.1, -0.1, "a", True, float("nan")):
        with pytest.raises(UsageError, match=r"^min_score is a number from 0 to 1, found "):
            opened.events(sound, RATE_HZ, min_score=wrong)  # type: ignore[arg-type]


def test_events_reach_the_rejection_threshold_of_the_model(
    opened: Model, rejecting_model: Path
) -> None:
    strict, sound = load(rejecting_model), recording()
    scores = [event.score for event in opened.events(sound, RATE_HZ, min_score=0.0)]
    assert strict.events(sound, RATE_HZ, min_score=0.0) == opened.events(
        sound, RATE_HZ, min_score=0.0
    )
    assert min(scores) < 0.9999
    expected = [score for score in scores if score >= np.float32(0.9999)]
    assert [event.score for event in strict.events(sound, RATE_HZ)] == expected


@pytest.mark.slow
def test_array_may_be_longer_than_the_limit_of_files(opened: Model) -> None:
    sound = np.zeros(3_700 * RATE_HZ, np.int16)
    sound[-RATE_HZ:-4_800] = int16(tone("mid"))
    [event] = opened.events(sound, RATE_HZ)
    assert (event.label, event.start) == ("mid", pytest.approx(3_699, abs=0.05))


def test_embedding_is_that_of_the_window_that_decides(
    opened: Model, classifier: Classifier
) -> None:
    short = tone("mid")
    embedding = opened.embed(short, RATE_HZ)
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, classifier.embed_windows([(short, 0)])[1][0])
    np.testing.assert_array_equal(opened.embed(wav(short)), opened.embed(int16(short), RATE_HZ))
    long = overlay_at(tone("high"), 2.2, noise(5.0, 1e-3))
    start = round(opened.classify(long, RATE_HZ).best.start_seconds * RATE_HZ)
    alone = opened.embed(long[start : start + RATE_HZ], RATE_HZ)
    np.testing.assert_allclose(opened.embed(long, RATE_HZ), alone, atol=1e-5)


def test_rejection_gives_unknown_and_keeps_the_scores(rejecting_model: Path) -> None:
    rejecting = load(rejecting_model)
    hiss = noise(1.0, 0.1)
    accepted, rejected = (rejecting.classify(hiss, RATE_HZ, reject=r) for r in (False, True))
    assert rejected.label == "unknown"
    assert accepted.label in PITCHES_HZ
    assert rejected.scores == accepted.scores
    assert rejecting.classify(tone("high", 0.5), RATE_HZ, reject=True).label == "high"


def test_models_are_found_by_path_registry_name_and_default(model: Path, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    registry.register("tones", {"model.onnx": model.read_bytes()})
    for name in ("tones", "tones@1", "tones@champion", str(model)):
        assert load(name, registry=registry.root).labels == tuple(sorted(PITCHES_HZ))
    assert load().labels == tuple("0123456789")
    with pytest.raises(EarfulError, match="no version 2"):
        load("tones@2", registry=registry.root)
    with pytest.raises(EarfulError, match=r"no model file none\.onnx"):
        load("none.onnx")


IN_A_PROCESS = """
import json, sys
import earful
import_loads = [name for name in ("torch", "onnxruntime", "numpy") if name in sys.modules]
model = earful.load(sys.argv[1])
label = model.classify(sys.argv[2]).label
events = [event.label for event in model.events(sys.argv[2])]
dim = len(model.embed(sys.argv[2]))
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([import_loads, label, events, dim, loaded]))
"""


def test_the_api_loads_no_training_package(model: Path, tones: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IN_A_PROCESS, str(model), str(tones / "high.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    import_loads, label, events, dim, loaded = json.loads(done.stdout)
    assert import_loads == []
    assert (label, events) == ("high", ["high"])
    assert dim > 0
    assert NEVER_WHILE_SERVING & set(loaded) == set()


def test_shipped_model_classifies_real_digits_and_finds_them_in_a_row(fsdd: Path) -> None:
    digits = load()
    names = [f"{digit}_{speaker}_0.wav" for digit in range(10) for speaker in ("theo", "jackson")]
    paths = [fsdd / "recordings" / name for name in names]
    labels = [digits.classify(path).label for path in paths]
    assert sum(label == path.name[0] for label, path in zip(labels, paths, strict=True)) >= 19

    pause = np.zeros(RATE_HZ // 2, np.int16)
    words = [soundfile.read(path, dtype="int16")[0] for path in paths]
    row = np.concatenate([part for word in words for part in (pause, word)])
    events = digits.events(row, RATE_HZ)
    assert [event.start for event in events] == sorted(event.start for event in events)
    assert len(events) <= len(words)
    expected = [path.name[0] for path in paths]
    assert sum(a == b.label for a, b in zip(expected, events, strict=False)) >= 17
