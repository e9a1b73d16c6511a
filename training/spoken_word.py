"""One synthetic word, cut out of its silence; what all engines of ``training.voices`` share."""

from pathlib import Path

import numpy as np
import soundfile

from data.audio import Waveform, resample
from data.errors import EarshotError

Row = tuple[str, str, str]  # file name, label, speaker

SEED = 42
RATE_HZ = 8_000
ENGLISH = "zero one two three four five six seven eight nine"
TAKES = 24  # of a voice that is one real speaker
# What is softer than this share of the peak, before and after the word, is cut off.
_SILENCE = 0.02


def write_word(samples: Waveform, rate_hz: int, out: Path) -> None:
    """One word without the silence around it, at ``RATE_HZ``.

    Raises:
        EarshotError: there is nothing but silence.
    """
    peak = np.abs(samples).max(initial=0)
    if peak == 0:
        raise EarshotError(f"{out.name}: the voice said nothing")
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * peak)
    margin = rate_hz // 50
    word = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    soundfile.write(out, resample(word, rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")
