"""The sample rate of a dataset, from the rates and bandwidths of its files; pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAX_DEFAULT_RATE_HZ = 16_000
# The rate of telephones, which is enough for what holds nothing above half of it.
LOW_RATE_HZ = 8_000
# Higher rates for music and birds, said and not chosen: they cost as much more time and memory.
HIGH_RATE_HZ = 32_000
# Of the files that were looked at.
_NARROW_SHARE = 0.95
# The slope of the filter that a file was resampled with reaches a little beyond its band.
_FILTER_SLOPE = 1.05


@dataclass(frozen=True)
class SampleRate:
    """A rate in hertz, and what the files hold, in words."""

    hz: int
    reason: str


def choose_sample_rate(
    files_by_rate: Mapping[int, int], bandwidths_hz: Sequence[float]
) -> SampleRate:
    """The most common rate of the files, at most 16 kHz; 8 kHz where they hold no more.

    ``bandwidths_hz`` are the highest frequencies that hold sound, of a sample of the files.
    """
    if not files_by_rate:
        return SampleRate(MAX_DEFAULT_RATE_HZ, "no rate could be read")
    rate = max(files_by_rate, key=lambda hz: (files_by_rate[hz], hz))
    share = files_by_rate[rate] / sum(files_by_rate.values())
    reason = (
        f"files are {rate} Hz" if share == 1 else f"{_percent(share)} of the files are {rate} Hz"
    )
    chosen = min(rate, MAX_DEFAULT_RATE_HZ)
    if not len(bandwidths_hz):
        return SampleRate(chosen, reason)
    band = float(np.percentile(bandwidths_hz, 100 * _NARROW_SHARE))
    if chosen > LOW_RATE_HZ and band <= _FILTER_SLOPE * LOW_RATE_HZ / 2:
        return SampleRate(LOW_RATE_HZ, f"{reason} and hold no sound above {_round_up(band)} Hz")
    if rate > MAX_DEFAULT_RATE_HZ and np.median(bandwidths_hz) > _FILTER_SLOPE * chosen / 2:
        more = min(rate, HIGH_RATE_HZ)
        reason += f"; --sample-rate {more} --f-max {more // 2} keeps more"
    return SampleRate(chosen, reason)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _round_up(hz: float) -> int:
    return int(-(-hz // 100) * 100)
