"""Shared by all engines of ``training.recipes.digits.voices``: the words, and writing a word."""

from pathlib import Path

import numpy as np
import soundfile

from earful.data.audio.decode import Waveform, resample
from earful.data.errors import EarfulError

LabelsCsvRow = tuple[str, str, str]  # file name, label, speaker

SEED = 42
RATE_HZ = 8_000
ENGLISH = "zero one two three four five six seven eight nine"
# The English digits in the spelling of other languages, for voices with a foreign accent.
ACCENTS = {
    "fr-fr": "ziro ouane tou sri fôr faïve sixe sévène eïte naïne",
    "fr-be": "ziro ouane tou zri fôr faïve sixe sévène eïte naïne",
    "de": "siero wann tuh sri fohr feif six ßewen äit nein",
    "nl": "ziero wan toe srie for faaiv siks sevven eet nain",
    "es": "sírou uan tu zri for faiv siks seven eit nain",
    "it": "ziro uan tu tri for faiv sics seven eit nain",
    "el": "ζίροου ουάν του θρι φορ φάιβ σιξ σέβεν έιτ νάιν",
    "pl": "ziro łan tu fri for fajf siks sewen ejt najn",
    "hi": "ज़ीरो वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन",
    "pt-br": "zírou uan tu frí fór faiv sics séven eit nain",
    "ru": "зиро уан ту сри фор файв сикс севен эйт найн",
    "sv": "siro vann tu tri får fajv six seven ejt najn",
    "tr": "ziro uan tu tri for fayv siks sevın eyt nayn",
    "ro": "zirou uan tu tri for faiv sics seven eit nain",
    "hu": "ziró uan tú szrí for fájv sziksz szeven éjt nájn",
    "cs": "zírou uan tú srí fór fajv siks sevn ejt najn",
    "pt": "zirou uane tu tri fór faive sics sévene eite naine",
    "fi": "siirou uan tuu srii foor faiv siks seven eit nain",
    "da": "siro uan tu tri for faiv siks seven eit nain",
    "hr": "zirou uan tu tri for fajv siks seven ejt najn",
    "bg": "зироу уан ту три фор файв сикс севън ейт найн",
    "uk": "зіроу уан ту срі фор файв сікс севен ейт найн",
    "id": "ziro wan tu tri for faif siks seven eit nain",
    "ca": "zirou uan tu tri for faiv sics seven eit nain",
}
REPETITIONS = 24  # of each word by a voice that is built from one speaker
# Leading and trailing samples below this share of the peak are trimmed.
_SILENCE_SHARE = 0.02


def write_word(samples: Waveform, rate_hz: int, out: Path) -> None:
    """Write one word as a WAV file at ``RATE_HZ``, trimmed to 20 ms of silence around it.

    Raises:
        EarfulError: the samples are silent.
    """
    peak = np.abs(samples).max(initial=0)
    if peak == 0:
        raise EarfulError(f"{out.name}: the voice synthesized only silence; check its installation")
    audible = np.flatnonzero(np.abs(samples) > _SILENCE_SHARE * peak)
    margin = rate_hz // 50
    word = samples[max(0, audible[0] - margin) : audible[-1] + margin]
    soundfile.write(out, resample(word, rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")
