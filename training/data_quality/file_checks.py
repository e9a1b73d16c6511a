"""Clips that can be read and still are not right: silent, clipped, of odd length, rate or offset.

Thresholds, all of them told in the messages: a clip is silent whose highest sample is below -70
dBFS (ten steps of 16 bits), clipped where 0.5 % of its samples stand at the extreme, short under 50
ms or a quarter of the median, long over four times the median; the last two only where the others
are more alike (beyond three interquartile ranges of the logarithm of the lengths).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from earful.data.labels.multilabel import split_labels
from earful.training.data_quality.finding import Finding, clips_of, found
from earful.training.data_quality.measure_clip import Sound

SILENT_PEAK = 10 ** (-70 / 20)
CLIPPED_SHARE = 0.005
SHORTEST_SECONDS = 0.05
FAR_TIMES = 4.0
FAR_RANGES = 3.0
# Lengths are compared where there are so many that one among them can be odd.
_ENOUGH_LENGTHS = 20
OFFSET = 0.02
# A label all but told by a rate: nearly all of its clips have one that few of the others have.
_TELLING, _RARE_ELSEWHERE, _FEW_CLIPS = 0.9, 0.1, 5
_SILENT_NAMES = re.compile(r"silen|quiet|noise|background|nothing|none|empty", re.IGNORECASE)


def check_files(sounds: Sequence[Sound]) -> list[Finding]:
    """All findings on the sound of single clips, and on their rates."""
    return [*_silent(sounds), *_clipped(sounds), *_lengths(sounds), *_offsets(sounds),
            *_rates(sounds)]  # fmt: skip


def is_silent(sound: Sound) -> bool:
    return sound.peak < SILENT_PEAK


def _about(code: str, sound: Sound, message: str) -> Finding:
    return found(code, message, sound.clip.line, sound.clip.filename, label=sound.clip.label)


def _silent(sounds: Sequence[Sound]) -> Iterator[Finding]:
    clips = Counter(sound.clip.label for sound in sounds)  # whole texts: all that a clip has
    silent = [sound for sound in sounds if is_silent(sound)]
    counts = Counter(sound.clip.label for sound in silent)
    for sound in silent:
        if not _means_silence(sound.clip.label, counts[sound.clip.label], clips):
            loudest = f"{20 * np.log10(max(sound.peak, 1e-5)):.0f} dBFS at its loudest"
            yield _about("silent", sound, loudest if sound.peak > 0 else "digital silence")


def _means_silence(label: str, silent: int, clips: Counter[str]) -> bool:
    """By its name, or since half of its clips, and three or more, are silent."""
    return bool(_SILENT_NAMES.search(label)) or (silent >= 3 and 2 * silent >= clips[label])


def _clipped(sounds: Sequence[Sound]) -> Iterator[Finding]:
    for sound in sounds:
        if sound.flat_share >= CLIPPED_SHARE and not is_silent(sound):
            share = 100 * sound.flat_share
            yield _about("clipped", sound, f"{share:.1f} % of its samples stand at the extreme")


def _lengths(sounds: Sequence[Sound]) -> Iterator[Finding]:
    low, high, median = _usual_lengths(sounds)
    for sound in sounds:
        seconds = sound.seconds
        if seconds < SHORTEST_SECONDS:
            yield _about(
                "short_clip", sound,
                f"{1000 * seconds:.0f} ms; at least {1000 * SHORTEST_SECONDS:.0f} ms are needed",
            )  # fmt: skip
        elif seconds < low:
            yield _about(
                "short_clip", sound, f"{seconds:.2f} s, where half have {median:.2f} s or more"
            )
        elif seconds > high:
            yield _about(
                "long_clip", sound, f"{seconds:.2f} s, where half have {median:.2f} s or less"
            )


def _usual_lengths(sounds: Sequence[Sound]) -> tuple[float, float, float]:
    """Seconds below and above which a clip's length is odd among the others, and the median."""
    if len(sounds) < _ENOUGH_LENGTHS:
        return 0.0, float("inf"), 0.0
    logs = np.log([sound.seconds for sound in sounds])
    first, median, third = np.percentile(logs, [25, 50, 75])
    low = min(first - FAR_RANGES * (third - first), median - np.log(FAR_TIMES))
    high = max(third + FAR_RANGES * (third - first), median + np.log(FAR_TIMES))
    return float(np.exp(low)), float(np.exp(high)), float(np.exp(median))


def _offsets(sounds: Sequence[Sound]) -> Iterator[Finding]:
    for sound in sounds:
        if abs(sound.offset) > OFFSET:
            yield _about("dc_offset", sound, f"its mean is {sound.offset:+.3f} of full scale")


def _rates(sounds: Sequence[Sound]) -> Iterator[Finding]:
    rates = Counter(sound.rate_hz for sound in sounds)
    if len(rates) < 2:
        return
    by_label: dict[str, Counter[int]] = {}
    for sound in sounds:
        for label in split_labels(sound.clip.label):
            by_label.setdefault(label, Counter())[sound.rate_hz] += 1
    for label, own in by_label.items():
        (rate, n), total = own.most_common(1)[0], own.total()
        others = len(sounds) - total
        telling = total >= _FEW_CLIPS and n >= _TELLING * total
        if telling and rates[rate] - n < _RARE_ELSEWHERE * others:
            yield found(
                "rate_tells_label",
                f"{n} of {clips_of(total)} of {label!r} have {rate} Hz, and {rates[rate] - n} of "
                f"{others} others",
                label=label,
            )
    told = ", ".join(f"{clips_of(n)} of {rate} Hz" for rate, n in rates.most_common())
    yield found("mixed_rates", told)
