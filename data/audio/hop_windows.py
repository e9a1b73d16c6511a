"""Live audio: resampled, and cut into the last clip at every hop."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from earful.data.audio.decode import Waveform
from earful.data.audio.sounds import SILENCE_POWER

_BLOCK_SECONDS = 0.02


class StreamResampler:
    """Resamples mono audio (n,) that comes in chunks of any size."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._resampler = (
            None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
        )

    def feed(self, samples: Waveform, *, last: bool = False) -> Waveform:
        """The samples at the new rate that are complete; with ``last`` all of them."""
        if self._resampler is None:
            return samples
        resampled: Waveform = self._resampler.resample_chunk(samples, last=last)
        return resampled


@dataclass(frozen=True, slots=True)
class HopWindow:
    """The last clip (clip_samples,) at a time; before the first sample there is silence.

    ``is_quiet`` is whether none of it is louder than silence.
    """

    waveform: Waveform
    start_seconds: float
    end_seconds: float
    is_quiet: bool


class HopWindower:
    """Cuts audio that comes in chunks of any size into windows, a hop apart."""

    def __init__(self, sample_rate_hz: int, clip_samples: int, hop_seconds: float) -> None:
        self._rate_hz, self._clip = sample_rate_hz, clip_samples
        self._hop = max(1, round(hop_seconds * sample_rate_hz))
        self._block = max(1, round(_BLOCK_SECONDS * sample_rate_hz))
        self._buffer = np.zeros(clip_samples, np.float32)
        self._end = 0  # of the last window, and of the buffer's first clip

    def feed(self, samples: Waveform) -> Iterator[HopWindow]:
        """The windows that end within these samples (n,)."""
        self._buffer = np.concatenate([self._buffer, samples])
        while len(self._buffer) >= self._hop + self._clip:
            self._buffer, self._end = self._buffer[self._hop :], self._end + self._hop
            window = self._buffer[: self._clip]
            yield HopWindow(
                waveform=window,
                start_seconds=(self._end - self._clip) / self._rate_hz,
                end_seconds=self._end / self._rate_hz,
                is_quiet=self._is_quiet(window),
            )

    def _is_quiet(self, window: Waveform) -> bool:
        starts = np.arange(0, len(window), self._block)
        powers = np.add.reduceat(np.square(window.astype(np.float64)), starts) / self._block
        return bool(powers.max() <= SILENCE_POWER)
