"""Makes the samples of the page, service/web/samples/*.ogg, with espeak-ng voices.

uv run --group dev python -m tests.service.web.make_samples
"""

from pathlib import Path

import numpy as np
import soundfile

from earful.data.audio.decode import resample
from earful.data.synthesis.espeak import Synthesizer, Voice

FOLDER = Path(__file__).parents[3] / "service" / "web" / "samples"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 0)
VOICES = (Voice("en-us", "", 140), Voice("en-gb", "f2", 150, 55))
# Between words; -70 dB re full scale, since no room is silent.
ROOM_LEVEL = 10 ** (-70 / 20)


def main() -> None:
    """Write both samples."""
    generator = np.random.default_rng(1)
    with Synthesizer() as synthesizer:
        rate_hz = synthesizer.sample_rate_hz
        parts = [np.zeros(round(0.4 * rate_hz), np.float32)]
        for position, digit in enumerate(DIGITS):
            voice = VOICES[position // 4 % len(VOICES)]
            parts.append(0.5 * synthesizer.synthesize(WORDS[digit], voice))
            parts.append(np.zeros(round(generator.uniform(0.2, 0.9) * rate_hz), np.float32))
        seven = synthesizer.synthesize("seven", VOICES[1])
    digits = np.concatenate(parts)
    digits += ROOM_LEVEL * generator.standard_normal(len(digits)).astype(np.float32)
    for name, sound in {"digits": digits, "seven": 0.5 * seven}.items():
        at_16_khz = resample(sound, rate_hz, 16_000)  # a rate that Opus has
        path = FOLDER / f"{name}.ogg"
        soundfile.write(path, at_16_khz, 16_000, subtype="OPUS", compression_level=0.93)


if __name__ == "__main__":
    main()
