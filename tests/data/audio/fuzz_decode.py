"""Coverage-guided fuzzing of the decoder: any bytes decode or raise an ``AudioError``.

    uv run --with atheris python tests/data/audio/fuzz_decode.py -max_total_time=60

For longer runs, raise the time and give a corpus folder as the last argument. Every input must
decode or be refused with a known code, within the time and memory limits.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[3]))
with atheris.instrument_imports(include=["earful"]):
    from earful.data.audio.decode import AudioError, AudioLimits, decode

import numpy as np

from tests.fixtures.malformed_audio import MALFORMED_AUDIO

LIMITS = AudioLimits(max_bytes=1 << 20, max_seconds=60)
CODES = {
    "unsupported_format",
    "empty_audio",
    "truncated",
    "too_large",
    "too_long",
    "bad_sample_rate",
    "too_many_channels",
    "not_finite",
    "out_of_range",
}


def check(blob: bytes) -> None:
    try:
        waveform = decode(blob, 8_000, LIMITS).waveform
    except AudioError as error:
        if error.code not in CODES:
            raise
        return
    assert waveform.dtype == np.float32
    assert 0 < len(waveform) <= 61 * 8_000
    assert np.isfinite(waveform).all()


def main() -> None:
    seeds = [content for content, _ in MALFORMED_AUDIO.values() if len(content) < 20_000]
    for seed in seeds:
        check(seed)
    folder = Path("artifacts/fuzz/seeds")
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"{number:03}").write_bytes(seed)
    arguments = [*sys.argv, "-max_len=20000", "-rss_limit_mb=2048", "-timeout=10"]
    if not any(not argument.startswith("-") for argument in sys.argv[1:]):
        corpus = Path("artifacts/fuzz/corpus")
        corpus.mkdir(exist_ok=True)
        arguments.append(str(corpus))
    atheris.Setup([*arguments, str(folder)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
