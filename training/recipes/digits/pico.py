"""The six voices of SVOX Pico, each the model of one real speaker, a woman.

The package ttspico (Apache 2.0) compiles the engine and brings the voices.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from earful.data.errors import EarfulError
from earful.training.recipes.digits.spoken_word import (
    ACCENTS,
    ENGLISH,
    SEED,
    REPETITIONS,
    LabelsCsvRow,
    write_word,
)

RATE_HZ = 16_000
# French alone needs other spellings here than espeak-ng does to sound something like English.
PICO_VOICES = {
    "en-US": ENGLISH,
    "en-GB": ENGLISH,
    "de-DE": ACCENTS["de"],
    "es-ES": ACCENTS["es"],
    "fr-FR": "ziro ouane tou srie fore faillve sixe sévène eillte naillne",
    "it-IT": ACCENTS["it"],
}


class PicoEngine(Protocol):
    """What is used of ttspico's ``TtsEngine``; rate and pitch are in percent."""

    rate: int
    pitch: int

    def speak(self, text: str) -> bytes:
        """16-bit samples at ``RATE_HZ``."""


def pico_engines() -> Mapping[str, PicoEngine]:
    """An engine a voice.

    Raises:
        EarfulError: the package is missing.
    """
    try:
        import ttspico  # noqa: PLC0415 - only for who makes the shipped model
    except ImportError as error:
        raise EarfulError(
            "the package ttspico is missing: uv run --with ttspico python -m training.recipes.digits.train_digits ..."
        ) from error
    # Beside lib/pythonX.Y/site-packages. The package looks in sys.prefix alone, which with
    # ``uv run --with`` is another place.
    languages = Path(ttspico.__file__).parents[3] / "languages"
    return {voice: ttspico.TtsEngine(voice, str(languages)) for voice in PICO_VOICES}


def synthesize_with_pico(engines: Mapping[str, PicoEngine], folder: Path) -> Iterator[LabelsCsvRow]:
    """Rows of clips in ``folder``/pico, at drawn tempos and pitches, by speakers of drawn sizes."""
    rng = np.random.default_rng(SEED)
    for voice, engine in engines.items():
        for repetition in range(REPETITIONS):
            size, tempo = rng.uniform(0.8, 1.1), rng.uniform(0.75, 1.4)
            engine.rate = round(100 * tempo / size)
            engine.pitch = round(100 * rng.uniform(0.75, 1.3))
            for digit, word in enumerate(PICO_VOICES[voice].split()):
                pcm = np.frombuffer(engine.speak(word), "<i2")
                samples = pcm.astype(np.float32) / np.float32(32_768)
                name = f"pico/{voice}-{repetition:02d}-{digit}.wav"
                # Played faster, a voice is that of a smaller person.
                write_word(samples, round(RATE_HZ * size), folder / name)
                yield name, str(digit), f"pico-{voice}"
