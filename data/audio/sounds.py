"""Where sounds begin and end in a recording that is read in chunks of any size.

A frame every 10 ms is compared with the noise floor, band by band, so that a word stands out of
noise that is as loud as it is. The measure is the mean over the bands of ``g - ln g - 1`` where g
is the ratio of the frame's power to the noise floor's: the likelihood ratio of Sohn, Kim and Sung
("A statistical model-based voice activity detection", 1999). The result does not depend on how the
recording is cut into chunks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform

FRAME_SECONDS = 0.01
# Power of -55 dB re full scale: frames below it are silence, whatever the noise floor.
SILENCE_POWER = 10 ** (-55 / 10)
# Powers are of windows of this length, and means of this many frames.
_WINDOW_SECONDS, _SMOOTHED_FRAMES = 0.032, 5
_BANDS, _LOWEST_HZ = 16, 80.0
# The noise floor is this quantile of the last clips, and of these seconds at least. It is estimated
# anew every step, from the first seconds for all steps in them: a recording may begin with a sound.
_FLOOR_CLIPS, _MIN_FLOOR_SECONDS, _FLOOR_QUANTILE = 2.0, 2.0, 0.2
_STEP_FRAMES = 25
# Mean of the powers of stationary noise, as a multiple of that quantile.
_MEAN_TO_QUANTILE = 1.3
_MAX_RATIO = 1e3
# Also silent is what is 25 dB quieter than the loudest frame so far, as the hiss of a room between
# words is. The loudest frame counts 0.1 dB less with each second.
_SILENCE_RATIO = 10 ** (-25 / 10)
_DECAY_PER_STEP = 10 ** (-0.1 * _STEP_FRAMES * FRAME_SECONDS / 10)
# A sound reaches as far as its frames score this; in white noise one frame in a thousand does.
_MIN_SCORE = 0.1
# A sound has this many frames of at least this score.
_MIN_STRONG_SCORE, _MIN_STRONG_FRAMES = 0.3, 3
# A pause of this share of a clip ends a sound, and of this many frames at least: the closures
# inside "six" and "eight" are shorter.
_PAUSE_CLIPS, _MIN_PAUSE_FRAMES = 0.05, 11


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound from frame ``first`` to before frame ``last``."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive frames: whether each is part of a sound, and whether it is loud (not silent).

    ``sounds`` ended in these frames, in order of time.
    """

    active: NDArray[np.bool_]
    loud: NDArray[np.bool_]
    sounds: Sequence[Sound]


class SoundFinder:
    """Finds the sounds of one recording (samples,) at ``sample_rate_hz``.

    ``clip_seconds`` is the length of sounds that matter: longer ones become part of the noise
    floor.
    """

    def __init__(self, sample_rate_hz: int, clip_seconds: float) -> None:
        floor_seconds = max(_MIN_FLOOR_SECONDS, _FLOOR_CLIPS * clip_seconds)
        self._floor_frames = math.ceil(floor_seconds / FRAME_SECONDS / _STEP_FRAMES) * _STEP_FRAMES
        pause_frames = max(_MIN_PAUSE_FRAMES, round(_PAUSE_CLIPS * clip_seconds / FRAME_SECONDS))
        self.pause_frames = pause_frames
        self.frame_samples = max(1, round(FRAME_SECONDS * sample_rate_hz))
        self._window_samples = max(2, round(_WINDOW_SECONDS * sample_rate_hz))
        window = np.hanning(self._window_samples)
        # Powers of all bins add up to the mean power of the samples.
        self._window = window * np.sqrt(2 / (self._window_samples * np.square(window).sum()))
        self._first_bins, widths = _bands(sample_rate_hz, self._window_samples)
        self._silence = SILENCE_POWER * widths / widths.sum()
        # The first frame's window begins before the recording.
        lead = (self._window_samples - self.frame_samples) // 2
        self._samples = np.zeros(max(0, lead), np.float32)
        self._powers = np.zeros((0, len(widths)))
        self._smoothed = np.zeros((0, len(widths)))
        self._smoothed_before = 0  # smoothed frames that are no longer kept
        self._next_frame, self._loudest = 0, 0.0
        self._segmenter = _Segmenter(pause_frames)

    @property
    def open_sound(self) -> Sound | None:
        """The sound that has not ended yet, up to its last frame so far."""
        return self._segmenter.open_sound

    def feed(self, samples: Waveform) -> Frames:
        """The frames that these samples (n,) decide, after those of earlier calls."""
        self._measure(samples)
        # The last frames of a smoothed mean are not known yet.
        return self._decide(final=False)

    def finish(self) -> Frames:
        """The frames up to the end of the recording; its last sound ends there."""
        self._measure(np.zeros(self._window_samples, np.float32))
        edge = np.repeat(self._powers[-1:], _SMOOTHED_FRAMES // 2, axis=0)
        self._smooth(edge)
        return self._decide(final=True)

    def _measure(self, samples: Waveform) -> None:
        """Append the band powers of the windows that are complete."""
        self._samples = np.concatenate([self._samples, samples])
        n_frames = (len(self._samples) - self._window_samples) // self.frame_samples + 1
        if n_frames <= 0:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window_samples)
        windows = windows[: n_frames * self.frame_samples : self.frame_samples]
        spectrum = np.fft.rfft(windows * self._window)
        powers = np.square(spectrum.real) + np.square(spectrum.imag)
        self._samples = self._samples[n_frames * self.frame_samples :]
        self._smooth(np.add.reduceat(powers, self._first_bins, axis=1)[:, :-1])

    def _smooth(self, powers: NDArray[np.float64]) -> None:
        if not len(self._powers) and not len(self._smoothed):  # the first frames have no past
            powers = np.concatenate([np.repeat(powers[:1], _SMOOTHED_FRAMES // 2, axis=0), powers])
        self._powers = np.concatenate([self._powers, powers])
        n_means = len(self._powers) - _SMOOTHED_FRAMES + 1
        if n_means <= 0:
            return
        near = [self._powers[delay : delay + n_means] for delay in range(_SMOOTHED_FRAMES)]
        medians = np.partition(np.stack(near), _SMOOTHED_FRAMES // 2, axis=0)[_SMOOTHED_FRAMES // 2]
        self._powers = self._powers[n_means:]
        self._smoothed = np.concatenate([self._smoothed, medians])

    def _decide(self, *, final: bool) -> Frames:
        known = self._smoothed_before + len(self._smoothed)
        end = known if final else known - known % _STEP_FRAMES
        if not final and end < self._floor_frames:
            end = 0
        if not self._next_frame:
            self._loudest = self._smoothed[: self._floor_frames].sum(axis=1).max(initial=0.0)
        steps = [np.zeros((3, 0), bool)]
        while self._next_frame < end:
            steps.append(self._decide_step(min(end, self._next_frame + _STEP_FRAMES)))
        surplus = self._next_frame - self._smoothed_before - self._floor_frames
        if surplus > 0 and end > self._floor_frames:
            self._smoothed = self._smoothed[surplus:]
            self._smoothed_before += surplus
        active, strong, loud = np.concatenate(steps, axis=1)
        return Frames(active, loud, self._segmenter.update(active, strong, final=final))

    def _decide_step(self, stop: int) -> NDArray[np.bool_]:
        """Whether the next frames are active, strong and loud (3, frames), before ``stop``."""
        first = self._next_frame - self._smoothed_before
        now = self._smoothed[first : stop - self._smoothed_before]
        ratio = np.clip(now / self._noise_floor(stop), 1.0, _MAX_RATIO)
        score = (ratio - np.log(ratio) - 1).mean(axis=1)
        powers = now.sum(axis=1)
        self._loudest = max(self._loudest * _DECAY_PER_STEP, powers.max(initial=0.0))
        self._next_frame = stop
        is_loud = powers > max(SILENCE_POWER, _SILENCE_RATIO * self._loudest)
        return np.stack([score > _MIN_SCORE, score > _MIN_STRONG_SCORE, is_loud])

    def _noise_floor(self, stop: int) -> NDArray[np.float64]:
        """The power of the noise in each band (bands,), for a step that ends before ``stop``."""
        stop = max(stop, self._floor_frames) - self._smoothed_before
        start = max(0, stop - self._floor_frames)
        past = self._smoothed[start:stop:2]  # neighbours are means of the same frames
        rank = int(_FLOOR_QUANTILE * (len(past) - 1))
        quantile: NDArray[np.float64] = np.partition(past, rank, axis=0)[rank]
        floor: NDArray[np.float64] = np.maximum(_MEAN_TO_QUANTILE * quantile, self._silence)
        return floor


@dataclass
class _Segmenter:
    """Joins active frames to sounds, which a pause of ``pause_frames`` ends."""

    pause_frames: int
    open_sound: Sound | None = None
    _n_strong: int = 0
    _n_frames: int = 0
    _ended: list[Sound] = field(default_factory=list)

    def update(
        self, active: NDArray[np.bool_], strong: NDArray[np.bool_], *, final: bool
    ) -> list[Sound]:
        """The sounds that end within further frames, or with them if they are the final ones."""
        positions = np.flatnonzero(active)
        breaks = np.flatnonzero(np.diff(positions) > self.pause_frames) + 1
        for group in np.split(positions, breaks) if len(positions) else ():
            first, last = int(group[0]), int(group[-1]) + 1
            n_strong = int(strong[first:last].sum())
            self._extend(self._n_frames + first, self._n_frames + last, n_strong)
        self._n_frames += len(active)
        if final or (
            self.open_sound and self._n_frames - self.open_sound.last >= self.pause_frames
        ):
            self._end()
        ended, self._ended = self._ended, []
        return ended

    def _extend(self, first: int, last: int, n_strong: int) -> None:
        if self.open_sound and first - self.open_sound.last >= self.pause_frames:
            self._end()
        self.open_sound = Sound(self.open_sound.first if self.open_sound else first, last)
        self._n_strong += n_strong

    def _end(self) -> None:
        if self.open_sound and self._n_strong >= _MIN_STRONG_FRAMES:
            self._ended.append(self.open_sound)
        self.open_sound, self._n_strong = None, 0


def _bands(
    sample_rate_hz: int, window_samples: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """First bins of the bands, with the end of the last one, and the number of bins of each.

    Bands are equally wide in mel, from ``_LOWEST_HZ`` to the Nyquist frequency; narrow ones are
    joined until each has a bin.
    """
    nyquist_hz = sample_rate_hz / 2
    lowest_hz = min(_LOWEST_HZ, nyquist_hz / 4)
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (lowest_hz, nyquist_hz))
    edges_hz = 700 * (10 ** (np.linspace(low, high, _BANDS + 1) / 2595) - 1)
    bins = np.ceil(edges_hz * window_samples / sample_rate_hz).astype(np.intp)
    bins = np.unique(np.minimum(bins, window_samples // 2))
    return bins, np.diff(bins).astype(np.float64)
