"""espeak-ng: properties of the waveforms, and refused texts and voices."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from earful.data.synthesis.espeak import SynthesisError, Synthesizer, Voice
from earful.data.synthesis.speak_words import ENGLISH_ACCENTS, FEMALE_VARIANTS, MALE_VARIANTS

espeakng_loader = pytest.importorskip("espeakng_loader", reason="needs the extra synth")
REPOSITORY = Path(__file__).parents[3]
PLAIN = Voice("en-us")


@pytest.fixture(scope="module")
def synthesizer() -> Iterator[Synthesizer]:
    with Synthesizer() as opened:
        yield opened


def fundamental_hz(waveform: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Median over the loud frames of the autocorrelation peak between 60 and 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::256]
    level = np.sqrt(np.mean(frames**2, axis=1))
    spectrum = np.fft.rfft(frames[level > level.max() / 2], 4096)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    shortest, longest = sample_rate_hz // 400, sample_rate_hz // 60
    lags = shortest + np.argmax(correlation[:, shortest:longest], axis=1)
    return float(sample_rate_hz / np.median(lags))


@pytest.mark.parametrize("language", ENGLISH_ACCENTS)
def test_every_accent_gives_audible_finite_speech(synthesizer: Synthesizer, language: str) -> None:
    waveform = synthesizer.synthesize("seven", Voice(language, "f2"))
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert np.isfinite(waveform).all()
    assert 0.1 < np.abs(waveform).max() <= 1
    assert 0.2 < waveform.size / synthesizer.sample_rate_hz < 1.5


def test_every_variant_sounds_different(synthesizer: Synthesizer) -> None:
    sounds = {
        synthesizer.synthesize("six", Voice("en-gb", v)).tobytes()
        for v in (*FEMALE_VARIANTS, *MALE_VARIANTS)
    }
    assert len(sounds) == len(FEMALE_VARIANTS) + len(MALE_VARIANTS) >= 40


@pytest.mark.parametrize("variant", ["", "f3", "klatt5", "f5"])
def test_speech_depends_on_text_and_voice_alone(synthesizer: Synthesizer, variant: str) -> None:
    voice = Voice("en-us", variant)
    first = synthesizer.synthesize("six", voice)
    synthesizer.synthesize("a whole sentence in between", Voice("en-gb-scotland", "m2", 150, 80))
    np.testing.assert_array_equal(synthesizer.synthesize("six", voice), first)


@pytest.mark.slow
def test_breath_noise_does_not_depend_on_the_time(synthesizer: Synthesizer) -> None:
    """espeak-ng seeds its noise with the time in seconds: repeat until the second changes."""
    breathy, second = Voice("en-us", "victor"), int(time.time())
    expected = synthesizer.synthesize("six", breathy)
    while int(time.time()) == second:
        np.testing.assert_array_equal(synthesizer.synthesize("six", breathy), expected)
    np.testing.assert_array_equal(synthesizer.synthesize("six", breathy), expected)


def test_pitch_raises_the_fundamental(synthesizer: Synthesizer) -> None:
    low, middle, high = (
        fundamental_hz(
            synthesizer.synthesize("mama", Voice("en-us", pitch=pitch)), synthesizer.sample_rate_hz
        )
        for pitch in (30, 60, 90)
    )
    assert 60 < low < middle / 1.1 < high / 1.21 < 400


def test_higher_rate_shortens_speech(synthesizer: Synthesizer) -> None:
    slow, fast = (synthesizer.synthesize("seven", Voice("en-us", rate_wpm=r)) for r in (120, 240))
    assert fast.size < 0.75 * slow.size


def test_silence_is_trimmed_to_the_margin(synthesizer: Synthesizer) -> None:
    slow = Voice("en-us", rate_wpm=80)
    waveform = synthesizer.synthesize("pat, - ", slow)  # half a second of pauses
    loud = np.flatnonzero(np.abs(waveform) > 1e-3)
    margin = round(0.02 * synthesizer.sample_rate_hz)
    assert loud[0] <= margin
    assert waveform.size - 1 - loud[-1] <= margin


@pytest.mark.parametrize(
    "text", ["", "  ", "###", "😀", "_", "٧", "日本", "привет", "half\0cut", "\u0007"]
)
def test_unspeakable_text_is_refused_by_name(synthesizer: Synthesizer, text: str) -> None:
    with pytest.raises(SynthesisError) as error:
        synthesizer.synthesize(text, PLAIN)
    assert repr(text) in str(error.value) or "empty" in str(error.value)


def test_other_languages_read_their_own_script(synthesizer: Synthesizer) -> None:
    assert synthesizer.synthesize("привет", Voice("ru")).size > 2000


@pytest.mark.parametrize(
    ("voice", "named"),
    [(Voice("en-xx"), "en-gb-scotland"), (Voice("en-us", "nobody"), "f3"), (Voice("../en"), "en")],
)
def test_unknown_voice_error_lists_the_known_ones(
    synthesizer: Synthesizer, voice: Voice, named: str
) -> None:
    with pytest.raises(SynthesisError, match=rf"; it (has|speaks) .*\b{named}\b"):
        synthesizer.synthesize("seven", voice)


@pytest.mark.parametrize(
    ("settings", "field"),
    [((20, 50, 50), "rate_wpm"), ((175, 100, 50), "pitch"), ((175, 50, -1), "pitch_range")],
)
def test_voice_out_of_range_is_refused(settings: tuple[int, int, int], field: str) -> None:
    with pytest.raises(SynthesisError, match=f"^{field} is .*; accepted"):
        Voice("en-us", "", *settings)


def test_instances_and_threads_do_not_disturb_each_other(synthesizer: Synthesizer) -> None:
    expected = synthesizer.synthesize("seven", PLAIN)
    waveforms: list[NDArray[np.float32]] = []
    with Synthesizer() as other:
        jobs = [
            threading.Thread(
                target=lambda s=s: waveforms.extend(s.synthesize("seven", PLAIN) for _ in range(10))
            )
            for s in (synthesizer, other, other)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    assert len(waveforms) == 30
    assert all(np.array_equal(waveform, expected) for waveform in waveforms)


def run_python(code: str, **environment: str) -> str:
    """The stdout of ``code`` in a fresh interpreter; its stderr must be empty."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


SPEAK = """
from earful.data.synthesis.espeak import *
with Synthesizer() as s: print(s.synthesize('six', Voice('en-us')).sum())
"""


def test_long_data_and_temp_paths_work(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 12)
    package = Path(espeakng_loader.__file__).parent
    (deep / package.name).mkdir(parents=True)
    for name in ("__init__.py", Path(espeakng_loader.get_library_path()).name):
        shutil.copy(package / name, deep / package.name)
    shutil.copytree(  # hard links: real files at a long path, without copying
        package / "espeak-ng-data", deep / package.name / "espeak-ng-data", copy_function=link
    )
    printed = run_python(SPEAK, PYTHONPATH=str(deep), TMPDIR=str(deep))
    assert printed == run_python(SPEAK)


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


def test_forked_process_can_synthesize_and_does_not_disturb_the_parent() -> None:
    code = """
import os, sys
from earful.data.synthesis.espeak import *
s = Synthesizer()
child = os.fork()
total = s.synthesize('six', Voice('en-us')).sum()
if child == 0:
    sys.exit(0)  # runs the finalizers
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert s.synthesize('six', Voice('en-us')).sum() == total
print(total)
"""
    assert run_python(code) == run_python(SPEAK)


def test_missing_loader_error_names_the_install_command() -> None:
    code = """
import sys
sys.modules['espeakng_loader'] = None
from earful.data.synthesis.espeak import *
try: Synthesizer()
except SynthesisError as error: print(error)
"""
    assert "uv sync --inexact --extra synth" in run_python(code)
