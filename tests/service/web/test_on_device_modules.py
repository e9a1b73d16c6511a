"""The classifier's JavaScript against its Python, in a real browser: the same windows and events.

The page asks this process for the scores, so that both sides have the same ones.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from earful.data.audio.decode import AudioError, Waveform, decode, resample
from earful.data.audio.sound_windows import ContinuousWindow, SoundWindower
from earful.data.audio.wav import parse_wav
from earful.data.audio.windows import loudest_clip, loudest_start
from earful.models.bundle.event_options import EventOptions
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.classifier import Classifier
from earful.service.events import EventDetector, detect_events
from earful.training.export.web_site import model_json
from tests.fixtures.chords import Chords
from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.malformed_audio import MALFORMED_AUDIO
from tests.fixtures.static_files import serve_folder
from tests.fixtures.synthetic_audio import wav

pytestmark = IN_CHROMIUM
WEB = Path(__file__).parents[3] / "service" / "web"
# Rates whose windows of 32 ms are no power of two of samples, and clips that are no whole frames.
RATES_AND_CLIPS = [(8_000, 1.0), (16_000, 0.7), (11_025, 1.0), (22_050, 2.0), (44_100, 0.33)]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with serve_folder(WEB) as url:
        opened = browser.new_page()
        opened.goto(f"{url}icon.svg")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def call(page: Page) -> Call:
    """``call(module, code, **arguments)``: what JavaScript gives that uses a module as ``m``.

    Arrays and bytes arrive as ``Float32Array`` and ``Uint8Array``.
    """

    def run(module: str, code: str, **arguments: Any) -> Any:
        script = f"""async (sent) => {{
            const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const open = (value) => value?.float32 !== undefined
                ? new Float32Array(bytes(value.float32).buffer)
                : value?.bytes !== undefined ? bytes(value.bytes) : value;
            const a = {{}};
            for (const [name, value] of Object.entries(sent)) a[name] = open(value);
            const m = await import("/on_device/{module}");
            {code}
        }}"""
        return page.evaluate(script, {name: packed(value) for name, value in arguments.items()})

    return run


def packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"float32": base64.b64encode(value.astype("<f4").tobytes()).decode()}
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def scene(rate_hz: int, clip_seconds: float, seed: int) -> Waveform:
    """Short sounds, some close together, a stretch of louder noise, and pauses, in quiet noise."""
    generator = np.random.default_rng(seed)
    n = round(24 * clip_seconds * rate_hz) + 137
    sound = 0.001 * generator.standard_normal(n)
    start = 0.5 * clip_seconds
    while start < 12 * clip_seconds:
        length = round(generator.uniform(0.1, 0.9) * clip_seconds * rate_hz)
        first = round(start * rate_hz)
        hz = generator.uniform(200, 0.4 * rate_hz)
        pulse = np.hanning(length) * np.sin(2 * np.pi * hz * np.arange(length) / rate_hz)
        sound[first : first + length] += generator.uniform(0.02, 0.4) * pulse
        start += length / rate_hz + generator.choice([0.02, 0.15, 0.6]) * clip_seconds
    loud = slice(round(14 * clip_seconds * rate_hz), round(20 * clip_seconds * rate_hz))
    sound[loud] += 0.1 * generator.standard_normal(loud.stop - loud.start)
    waveform: Waveform = sound.astype(np.float32)
    return waveform


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rate_hz", "clip_seconds"), RATES_AND_CLIPS)
def test_windows_are_the_same(rate_hz: int, clip_seconds: float, seed: int, call: Call) -> None:
    waveform, clip = scene(rate_hz, clip_seconds, seed), round(clip_seconds * rate_hz)
    offsets = [-clip // 10, 0, clip // 10]
    windower = SoundWindower(rate_hz, clip, offsets)
    expected = [*windower.feed(waveform), *windower.finish()]
    assert {type(window).__name__ for window in expected} == {"SoundWindows", "ContinuousWindow"}
    found = call(
        "sound_windows.js",
        """
        const w = new m.SoundWindower(a.rateHz, a.clip, a.offsets), windows = [];
        for (let i = 0; i < a.samples.length; i += a.chunk) {
          windows.push(...w.feed(a.samples.subarray(i, i + a.chunk)));
        }
        const weigh = (clip) => clip.reduce((sum, x, i) => sum + x * Math.sin(i), 0);
        return [...windows, ...w.finish()].map(
          ({ clips, ...rest }) => ({ ...rest, sums: clips.map(weigh) }));
        """,
        rateHz=rate_hz, clip=clip, offsets=offsets, samples=waveform,
        chunk=[7_777, 100_000, 1_234][seed],
    )  # fmt: skip
    assert [place_of(window) for window in expected] == [place_in(window) for window in found]
    weights = np.sin(np.arange(clip))
    np.testing.assert_allclose(
        np.concatenate([window["sums"] for window in found]),
        np.concatenate([window.clips.astype(np.float64) @ weights for window in expected]),
        atol=1e-6,
    )


def place_of(window: Any) -> tuple[Any, ...]:
    if isinstance(window, ContinuousWindow):
        return window.start, window.stretch_start, window.stretch_end
    return window.start, window.end, window.goes_on


def place_in(window: dict[str, Any]) -> tuple[Any, ...]:
    if "stretchStart" in window:
        return window["start"], window["stretchStart"], window["stretchEnd"]
    return window["start"], window["end"], window["goesOn"]


@pytest.mark.parametrize("clip", [4_000, 8_000, 50])
@pytest.mark.parametrize("n", [1, 30, 8_000, 8_001, 30_000])
def test_the_loudest_clip_is_the_same(n: int, clip: int, call: Call) -> None:
    samples = (np.random.default_rng(n).standard_normal(n) * np.linspace(0.1, 1, n)).astype("f4")
    for waveform in (samples, samples[::-1].copy(), np.zeros_like(samples)):
        found = call(
            "windows.js",
            "return Array.from(m.loudestClip(a.samples, a.clip));",
            samples=waveform, clip=clip,
        )  # fmt: skip
        np.testing.assert_array_equal(np.float32(found), loudest_clip(waveform, clip))


def test_of_equally_loud_places_the_same_one_is_taken(call: Call) -> None:
    steady = np.resize(np.random.default_rng(1).standard_normal(125), 40_000).astype(np.float32)
    for waveform in (steady, np.zeros(40_000, np.float32)):
        found = call("windows.js", "return m.loudestStart(a.samples, 8000);", samples=waveform)
        assert found == loudest_start(waveform, 8_000) > 0


def classify_in_page(page: Page, call: Call, classifier: Classifier, waveform: Waveform) -> Any:
    """The prediction of the page's classifier, which asks this process for scores."""

    def scores(encoded: str) -> list[list[float]]:
        clips = np.frombuffer(base64.b64decode(encoded), "<f4").reshape(-1, classifier.clip_samples)
        return classifier.run(clips).tolist()

    name = f"scores{len(waveform)}{id(classifier)}"
    page.expose_function(name, scores)
    return call(
        "classifier.js",
        f"""
        const encode = (clips) => {{
          const bytes = new Uint8Array(clips.length * a.model.clip_samples * 4);
          clips.forEach((clip, i) => bytes.set(
            new Uint8Array(clip.buffer, clip.byteOffset, clip.byteLength), i * clip.byteLength));
          let text = "";
          for (const byte of bytes) text += String.fromCharCode(byte);
          return btoa(text);
        }};
        const run = async (clips) => clips.length
          ? (await window.{name}(encode(clips))).map((scores) => Float32Array.from(scores)) : [];
        return new m.Classifier(a.model, run).classify(a.samples, a.reject, () => {{}});
        """,
        model=model_json(classifier.bundle, "model"), samples=waveform, reject=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Classifier:
    return Classifier.open(SHIPPED_MODELS["digits-small"])


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.45, 24.0])
def test_labels_scores_and_events_are_the_same(
    seconds: float, page: Page, call: Call, digits: Classifier
) -> None:
    recording = spoken_digits(seconds)
    check_prediction(classify_in_page(page, call, digits, recording), digits, recording)


def spoken_digits(seconds: float) -> Waveform:
    """The page's own sample, synthetic digits with pauses, from its first word on."""
    blob = (WEB / "samples" / "digits.ogg").read_bytes()
    samples = decode(blob, 8_000).waveform[3_000:]
    return np.resize(samples, round(seconds * 8_000))


@pytest.mark.parametrize("seed", range(8))
def test_events_of_the_same_scores_are_the_same(seed: int, call: Call, digits: Classifier) -> None:
    """Labels that last for seconds and are now and then another one, or below the threshold."""
    recording = np.concatenate([scene(8_000, 1.0, seed), scene(8_000, 1.0, seed + 100)])
    detector = EventDetector(digits, EventOptions())
    windows = [*detector.feed(recording), *detector.end_of_audio()]
    scores = [lasting_scores(window.start, len(window.clips), seed) for window in windows]
    pairs = zip(windows, scores, strict=True)
    events = [event for window, score in pairs for event in detector.add(window, score)]
    events += detector.finish()
    found = call(
        "events.js",
        """
        const d = new m.EventDetector(a.model);
        const windows = [...d.feed(a.samples), ...d.endOfAudio()];
        const events = windows.flatMap(
          (window, i) => d.add(window, a.scores[i].map((row) => Float32Array.from(row))));
        return [...events, ...d.finish()];
        """,
        model=model_json(digits.bundle, "digits"),
        samples=recording,
        scores=[score.tolist() for score in scores],
    )
    assert any(event.end - event.start > 2 for event in events)
    assert [(e["start"], e["end"], e["label"], e["score"]) for e in found] == [
        (e.start, e.end, e.label, pytest.approx(e.score)) for e in events
    ]


def lasting_scores(start: int, n_clips: int, seed: int) -> NDArray[np.float32]:
    """Scores (clips, 10) of a window: a label for some seconds, with exceptions."""
    generator = np.random.default_rng([seed, start])
    scores = generator.uniform(0, 0.05, (n_clips, 10))
    label = start // 22_000 % 3 if generator.uniform() < 0.75 else int(generator.integers(10))
    scores[:, label] = generator.uniform(0.6, 1.0, n_clips)
    return scores.astype(np.float32)


def test_events_of_several_labels_are_the_same(page: Page, call: Call, chords: Chords) -> None:
    classifier = Classifier.open(chords.model)
    recording = scene(classifier.sample_rate_hz, 1.0, 5)
    check_prediction(classify_in_page(page, call, classifier, recording), classifier, recording)


def check_prediction(found: Any, classifier: Classifier, recording: Waveform) -> None:
    [expected] = classifier.classify([recording])
    assert (found["label"], found["seconds"]) == (expected.label, expected.seconds)
    assert found["score"] == pytest.approx(expected.score, abs=1e-6)
    scores = {entry["label"]: entry["score"] for entry in found["scores"]}
    assert scores == pytest.approx(expected.scores, abs=1e-6)
    assert list(scores) == list(expected.scores)
    if len(recording) <= 1.5 * classifier.clip_samples:
        assert found.get("events") is None
        return
    events = list(detect_events(classifier, [recording]))
    assert events
    assert [(e["start"], e["end"], e["label"]) for e in found["events"]] == [
        (e.start, e.end, e.label) for e in events
    ]
    assert [e["score"] for e in found["events"]] == pytest.approx(
        [e.score for e in events], abs=1e-6
    )


def test_python_and_the_page_round_alike(call: Call) -> None:
    values = [n / 16 for n in range(-40, 40)] + [n / 22_050 for n in range(0, 44_100, 7)]
    found = call("rounding.js", "return a.values.map(m.roundThousandths);", values=values)
    assert found == [round(value, 3) for value in values]
    halves = [n / 2 for n in range(-9, 9)]
    found = call(
        "rounding.js", "return a.values.map((x) => m.roundHalfEven(x) + 0);", values=halves
    )
    assert found == [round(value) for value in halves]


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(44_100, 16_000), (48_000, 8_000), (8_000, 22_050), (44_101, 16_000), (8_000, 22_051)],
)
def test_resampling_is_close_to_soxr_and_chunks_change_nothing(
    from_hz: int, to_hz: int, call: Call
) -> None:
    waveform = band_limited(from_hz, 0.45 * min(from_hz, to_hz))
    expected = resample(waveform, from_hz, to_hz)
    code = """
        const r = new m.Resampler(a.fromHz, a.toHz), parts = [];
        for (let i = 0; i < a.samples.length; i += a.chunk) {
          parts.push(...r.feed(a.samples.subarray(i, i + a.chunk)));
        }
        return [...parts, ...r.finish()];
    """
    sent = {"samples": waveform, "fromHz": from_hz, "toHz": to_hz}
    whole = np.float32(call("resample.js", code, chunk=len(waveform), **sent))
    assert len(whole) == len(expected)
    np.testing.assert_allclose(whole, expected, atol=2e-4)
    np.testing.assert_array_equal(whole, np.float32(call("resample.js", code, chunk=441, **sent)))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_101, 16_000), (8_000, 22_051), (95_999, 8_000)])
def test_rates_without_a_common_divisor_need_little_memory(
    from_hz: int, to_hz: int, call: Call
) -> None:
    """And lose nothing by it: the filter at every place of a sample gives the same."""
    found = call(
        "resample.js",
        """
        const run = (r) => [...r.feed(a.samples), ...r.finish()];
        const r = new m.Resampler(a.fromHz, a.toHz), exact = new m.Resampler(a.fromHz, a.toHz);
        exact.nPhases = exact.up;
        const resampled = run(r), sizes = [...r.phases.values()].map((w) => w.byteLength);
        return {
          bytes: sizes.reduce((sum, n) => sum + n),
          off: Math.max(...run(exact).map((x, i) => Math.abs(x - resampled[i]))),
        };
        """,
        samples=np.random.default_rng(1).uniform(-1, 1, from_hz // 5), fromHz=from_hz, toHz=to_hz,
    )  # fmt: skip
    assert found["bytes"] < 4_000_000
    assert found["off"] < 1e-6


def band_limited(rate_hz: int, top_hz: float) -> NDArray[np.float32]:
    """A second of sines below a frequency, faded in and out."""
    time = np.arange(rate_hz) / rate_hz
    sines = [np.sin(2 * np.pi * hz * time + hz) for hz in np.linspace(50, top_hz, 40)]
    return (np.hanning(rate_hz) * np.sum(sines, axis=0) / 40).astype(np.float32)


READ = """
    const { decodeFile } = await import("/on_device/decode_file.js");
    const file = new File([a.bytes], "a.wav");
    try {
      const read = await m.readAudio(file, a.rateHz, async () => {});
      const samples = read ?? (await decodeFile(file, new AbortController().signal)).samples;
      return { length: samples.length, samples: Array.from(samples.subarray(0, 10_000)) };
    } catch (error) {
      return { code: error.code, message: error.message };
    }
"""


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_wav_files_give_the_same_samples(subtype: str, channels: int, call: Call) -> None:
    samples = np.random.default_rng(3).uniform(-0.9, 0.9, (4_321, channels))
    blob = wav(samples, subtype=subtype)
    found = call("read_audio.js", READ, bytes=blob, rateHz=8_000)
    np.testing.assert_allclose(found["samples"], decode(blob, 8_000).waveform, atol=2e-7)


@pytest.mark.parametrize("name", MALFORMED_AUDIO)
def test_malformed_files_end_in_a_message_or_in_samples(name: str, call: Call) -> None:
    blob, _ = MALFORMED_AUDIO[name]
    found = call("read_audio.js", READ, bytes=blob, rateHz=8_000)
    code, samples = outcome(blob)
    if parse_wav(blob) is None:  # the browser's own decoder reads more of them, or fewer
        assert "samples" in found or found["code"] in {"unsupported_format", CUT, "empty_audio"}
        return
    assert found.get("code", "") == code
    if samples is not None:
        assert found["length"] == len(samples)
        np.testing.assert_allclose(found["samples"], samples[:10_000], atol=1e-6)


CUT = "truncated"


def outcome(blob: bytes) -> tuple[str, Waveform | None]:
    """The error code for a file, or its samples."""
    try:
        return "", decode(blob, 8_000).waveform
    except AudioError as error:
        return error.code, None
