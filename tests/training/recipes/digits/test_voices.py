"""The synthetic voices of the shipped model: words are trimmed, missing engines reported."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.errors import EarfulError
from earful.training.recipes.digits import voices
from earful.training.recipes.digits.pico import PICO_VOICES, pico_engines, synthesize_with_pico
from earful.training.recipes.digits.spoken_word import (
    ACCENTS,
    ENGLISH,
    RATE_HZ,
    REPETITIONS,
    write_word,
)
from earful.training.recipes.digits.voices import FESTIVAL_VOICES


def test_every_accent_has_ten_distinct_words() -> None:
    festival = (voice.words for voice in FESTIVAL_VOICES)
    for words in (ENGLISH, *ACCENTS.values(), *festival, *PICO_VOICES.values()):
        assert len(words.split()) == 10
    for voice in FESTIVAL_VOICES:
        voice.words.encode(voice.encoding)


def test_word_is_trimmed_and_resampled(tmp_path: Path) -> None:
    rate_hz = 16_000
    samples = np.zeros(rate_hz, np.float32)
    samples[4_000:12_000] = 0.5 * np.sin(np.arange(8_000) * 0.3)
    write_word(samples, rate_hz, tmp_path / "word.wav")
    word, found_hz = soundfile.read(tmp_path / "word.wav")
    assert found_hz == RATE_HZ
    assert len(word) / RATE_HZ == pytest.approx(0.5 + 2 * 0.02, abs=0.001)  # and 20 ms around it


def test_silent_voice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EarfulError, match=r"word\.wav: the voice synthesized only silence"):
        write_word(np.zeros(100, np.float32), RATE_HZ, tmp_path / "word.wav")


def test_missing_engine_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EarfulError, match=r"flite is missing; Debian: apt install flite festival"):
        voices.write_voices(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_output_of_a_failing_engine_is_quoted() -> None:
    with pytest.raises(EarfulError, match=r"^sh -c .* failed with code 3: no such voice$"):
        voices._run("sh", "-c", "echo no such voice >&2; exit 3")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("festival") is None or not Path("/usr/share/festival/voices/english").is_dir(),
    reason="needs festival and festvox-kdlpc16k",
)
def test_festival_synthesizes_the_ten_digits_at_a_given_tempo(tmp_path: Path) -> None:
    (ked,) = (voice for voice in FESTIVAL_VOICES if "ked" in voice.name)
    seconds = []
    for stretch in (0.7, 1.4):
        folder = tmp_path / str(stretch)
        folder.mkdir()
        voices._synthesize_with_festival(ked, stretch, folder)
        infos = [soundfile.info(folder / f"{digit}.wav") for digit in range(10)]
        seconds.append(sum(info.duration for info in infos))
    assert seconds[1] > 1.3 * seconds[0]


def test_pico_synthesizes_the_ten_digits_in_every_repetition(tmp_path: Path) -> None:
    pytest.importorskip("ttspico", reason="needs ttspico: uv run --with ttspico pytest")
    (tmp_path / "pico").mkdir()
    voice, engine = next(iter(pico_engines().items()))
    rows = list(synthesize_with_pico({voice: engine}, tmp_path))
    assert len({name for name, _, _ in rows}) == 10 * REPETITIONS
    assert {label for _, label, _ in rows} == set("0123456789")
    seconds = [soundfile.info(tmp_path / name).duration for name, _, _ in rows]
    assert 0.1 < min(seconds) < max(seconds) < 1.2


def test_missing_ttspico_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ttspico", None)
    command = r"uv run --with ttspico python -m earful\.training\.recipes\.digits\.train_digits"
    with pytest.raises(EarfulError, match=command):
        pico_engines()
