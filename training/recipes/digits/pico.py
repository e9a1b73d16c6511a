"""The six voices of SVOX Pico, each built from one female speaker.

The package ttspico (Apache 2.0) compiles the engine and includes the voices.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from earful.data.errors import EarfulError
from earful.training.recipes.digits.spoken_word import (
    ACCENTS,
    ENGLISH,
    REPETITIONS,
    SEED,
    LabelsCsvRow,
    write_word,
)

RATE_HZ = 16_000
# Only French needs another spelling than with espeak-ng to sound like English.
PICO_VOICES = {
    "en-US": ENGLISH,
    "en-GB": ENGLISH,
    "de-DE": ACCENTS["de"],
    "es-ES": ACCENTS["es"],
    "fr-FR": "ziro ouane tou srie fore faillve sixe sévène eillte naillne",
    "it-IT": ACCENTS["it"],
}


class PicoEngine(Protocol):
    """The used part of ttspico's ``TtsEngine``; rate and pitch are in percent."""

    rate: int
    pitch: int

    def speak(self, text: str) -> bytes:
        """16-bit samples at ``RATE_HZ``."""


def pico_engines() -> Mapping[str, PicoEngine]:
    """An engine for each voice.

    Raises:
        EarfulError: the package is missing.
    """
    try:
        import ttspico  # noqa: PLC0415 - optional: needed only to train the shipped model
    except ImportError as error:
        raise EarfulError(
            "the package ttspico is missing; run: uv run --with ttspico "
            "python -m earful.training.recipes.digits.train_digits ..."
        ) from error
    # They are beside lib/pythonX.Y/site-packages. The package looks only in sys.prefix, which is
    # another folder with ``uv run --with``.
    languages = Path(ttspico.__file__).parents[3] / "languages"
    return {voice: ttspico.TtsEngine(voice, str(languages)) for voice in PICO_VOICES}


def synthesize_with_pico(engines: Mapping[str, PicoEngine], folder: Path) -> Iterator[LabelsCsvRow]:
    """Write clips to ``folder``/pico at random tempo, pitch and speaker size; yield their rows."""
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
                # A higher rate shifts pitch and formants up, as of a smaller speaker.
                write_word(samples, round(RATE_HZ * size), folder / name)
                yield name, str(digit), f"pico-{voice}"
