"""The voices of the shipped model: words are trimmed alike, and a missing engine is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.errors import EarshotError
from training import voices
from training.voices import ACCENTS, ENGLISH, FESTIVAL_VOICES, RATE_HZ


def test_every_accent_has_ten_words_that_its_voice_can_be_given() -> None:
    for words in (ENGLISH, *ACCENTS.values(), *(voice.words for voice in FESTIVAL_VOICES)):
        assert len(words.split()) == 10
    for voice in FESTIVAL_VOICES:
        voice.words.encode(voice.encoding)


def test_a_word_is_cut_out_of_its_silence_and_resampled(tmp_path: Path) -> None:
    rate_hz = 16_000
    samples = np.zeros(rate_hz, np.float32)
    samples[4_000:12_000] = 0.5 * np.sin(np.arange(8_000) * 0.3)
    voices._write_word(samples, rate_hz, tmp_path / "word.wav")
    word, found_hz = soundfile.read(tmp_path / "word.wav")
    assert found_hz == RATE_HZ
    assert len(word) / RATE_HZ == pytest.approx(0.5 + 2 * 0.02, abs=0.001)  # and 20 ms around it


def test_a_voice_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EarshotError, match=r"word\.wav: the voice said nothing"):
        voices._write_word(np.zeros(100, np.float32), RATE_HZ, tmp_path / "word.wav")


def test_a_missing_engine_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EarshotError, match=r"flite is missing; Debian: apt install flite festival"):
        voices.write_voices(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_engine_that_fails_is_quoted() -> None:
    with pytest.raises(EarshotError, match=r"^sh -c .* ended with 3 and said: no such voice$"):
        voices._run("sh", "-c", "echo no such voice >&2; exit 3")


@pytest.mark.skipif(
    shutil.which("festival") is None or not Path("/usr/share/festival/voices/english").is_dir(),
    reason="needs festival and festvox-kdlpc16k",
)
def test_festival_speaks_the_ten_digits_in_a_given_tempo(tmp_path: Path) -> None:
    (ked,) = (voice for voice in FESTIVAL_VOICES if "ked" in voice.name)
    seconds = []
    for stretch in (0.7, 1.4):
        folder = tmp_path / str(stretch)
        folder.mkdir()
        voices._speak_with_festival(ked, stretch, folder)
        spoken = [soundfile.info(folder / f"{digit}.wav") for digit in range(10)]
        seconds.append(sum(info.duration for info in spoken))
    assert seconds[1] > 1.3 * seconds[0]
