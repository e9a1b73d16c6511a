"""The windows of a recording that a classifier of short clips is asked about.

Models are trained on single sounds in the middle of a clip. A sound of at most ``MAX_SOUND_CLIPS``
clips is asked about with the sound in the middle of the window, and without its neighbours. What is
louder than silence and has no such sounds in it (rain, an engine, music) is asked about by windows
half a clip apart. The windows do not depend on the chunks in which the recording comes.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.runs import longest_run, padded, run_length
from earful.data.audio.sounds import Frames, Sound, SoundFinder

# Longer sounds are continuous.
MAX_SOUND_CLIPS = 1.5
# Continuous windows overlap by half.
CONTINUOUS_HOP_FRACTION = 0.5
# Frames on either side that belong to a sound: its soft beginning and end.
_MARGIN_FRAMES = 3
# A gap between neighbours is filled with background of at least this many frames.
_MIN_FILL_FRAMES = 5
# Of more samples at once, the spectra would need much memory.
_MAX_FED_SAMPLES = 1 << 16


@dataclass(frozen=True, slots=True)
class SoundWindows:
    """A sound from ``start`` to ``end`` (samples of the recording), and its windows.

    ``clips`` (windows, clip_samples) have it in the middle, and a little before and after.
    ``goes_on`` is whether sound that is louder than silence follows without a pause.
    """

    start: int
    end: int
    goes_on: bool
    clips: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ContinuousWindow:
    """A window of continuous sound: its first sample, and its samples (1, clip_samples).

    ``stretch_start`` and ``stretch_end`` (samples) are where the continuous sound around it begins
    and ends, at most a clip before and half a clip after the window.
    """

    start: int
    clips: NDArray[np.float32]
    stretch_start: int
    stretch_end: int


class SoundWindower:
    """Cuts one recording into windows.

    ``offsets`` (samples) are the distances of a sound's windows from the one in its middle.
    Windows of continuous sound begin every ``hop_samples``.
    """

    def __init__(self, sample_rate_hz: int, clip_samples: int, offsets: Sequence[int]) -> None:
        self._finder = SoundFinder(sample_rate_hz, clip_samples / sample_rate_hz)
        self._frame = self._finder.frame_samples
        self._clip, self._offsets = clip_samples, tuple(offsets)
        self.hop_samples = max(1, round(clip_samples * CONTINUOUS_HOP_FRACTION))
        self._max_sound_frames = int(MAX_SOUND_CLIPS * clip_samples / self._frame)
        # Of both kept arrays the first element is this sample, and its frame.
        self._kept_from = 0
        self._samples = np.zeros(0, np.float32)
        self._active, self._loud, self._continuous = (np.zeros(0, bool) for _ in range(3))
        self._n_samples = self._n_frames = self._n_sounds = self._next_continuous = 0
        self._waiting: list[tuple[int, int, int]] = []  # heap of (ready at, start, end) of sounds

    @property
    def _kept_frame(self) -> int:
        return self._kept_from // self._frame

    def feed(self, samples: Waveform) -> Iterator[SoundWindows | ContinuousWindow]:
        """The windows that these samples (n,) decide, in the order of their ends."""
        for first in range(0, len(samples), _MAX_FED_SAMPLES):
            yield from self._feed(samples[first : first + _MAX_FED_SAMPLES])

    def _feed(self, samples: Waveform) -> Iterator[SoundWindows | ContinuousWindow]:
        self._samples = np.concatenate([self._samples, samples])
        self._n_samples += len(samples)
        self._add(self._finder.feed(samples))
        open_sound = self._finder.open_sound
        decided = self._n_frames
        if open_sound and open_sound.last - open_sound.first <= self._max_sound_frames:
            decided = open_sound.first
        yield from self._windows(decided * self._frame)
        self._forget()

    def finish(self) -> Iterator[SoundWindows | ContinuousWindow]:
        """The windows that the end of the recording decides."""
        if not self._n_samples:
            return
        self._add(self._finder.finish())
        whole = Sound(0, self._n_frames)
        if not self._n_sounds and whole.last <= self._max_sound_frames and self._loud.any():
            self._await(whole)  # a word without a pause before or after it
        # Silence, so that windows may reach beyond the end.
        silence = np.zeros(2 * self._clip + max(self._offsets, default=0), np.float32)
        self._samples = np.concatenate([self._samples, silence])
        yield from self._windows(self._n_samples, final=True)

    def _add(self, frames: Frames) -> None:
        self._active = np.concatenate([self._active, frames.active])
        self._loud = np.concatenate([self._loud, frames.loud])
        self._continuous = np.concatenate([self._continuous, frames.loud])
        self._n_frames += len(frames.active)
        self._n_sounds += len(frames.sounds)
        for sound in frames.sounds:
            if sound.last - sound.first <= self._max_sound_frames:
                self._await(sound)

    def _await(self, sound: Sound) -> None:
        """Ask about a sound as soon as all of its windows have been read."""
        first = max(0, sound.first - _MARGIN_FRAMES - self._kept_frame)
        last = sound.last + _MARGIN_FRAMES - self._kept_frame
        self._continuous[first:last] = False
        start, end = sound.first * self._frame, min(sound.last * self._frame, self._n_samples)
        last_sample = (start + end) // 2 + max(self._offsets, default=0) + self._clip // 2
        ready = max(last_sample, (sound.last + self._finder.pause_frames) * self._frame)
        heapq.heappush(self._waiting, (ready, start, end))

    def _windows(
        self, decided: int, *, final: bool = False
    ) -> Iterator[SoundWindows | ContinuousWindow]:
        """All windows that end before sample ``decided``, and at the end of the recording all."""
        while True:
            sound_ready = self._waiting[0][0] if self._waiting else None
            continuous_end = self._next_continuous + self._clip
            continuous_ready = continuous_end + self.hop_samples  # how the sound goes on is known
            if sound_ready is not None and sound_ready <= continuous_ready:
                if sound_ready > decided and not final:
                    return
                _, start, end = heapq.heappop(self._waiting)
                yield SoundWindows(start, end, self._goes_on(end), self._sound_clips(start, end))
            elif continuous_ready <= decided or (final and continuous_end <= decided):
                window = self._continuous_window(self._next_continuous)
                self._next_continuous += self.hop_samples
                if window is not None:
                    yield window
            elif not (final and self._waiting):
                return
            else:
                self._next_continuous = self._n_samples  # only sounds are left

    def _goes_on(self, end: int) -> bool:
        first = -(-end // self._frame) + _MARGIN_FRAMES - self._kept_frame
        following = self._loud[first : first + self._finder.pause_frames - _MARGIN_FRAMES]
        return len(following) > 0 and bool(following.all())

    def _sound_clips(self, start: int, end: int) -> NDArray[np.float32]:
        middle = (start + end) // 2
        begins = [middle + offset - self._clip // 2 for offset in self._offsets]
        return np.stack([self._isolated(begin, start, end) for begin in begins])

    def _isolated(self, begin: int, start: int, end: int) -> Waveform:
        """The window from sample ``begin``, without other sounds than that of these samples."""
        window = self._cut(begin, begin + self._clip)
        foreign = self._foreign(begin, start, end)
        if foreign.any():
            background = longest_run(~foreign & ~self._span(begin, start, end))
            fill = window[background]
            if len(fill) < _MIN_FILL_FRAMES * self._frame:
                window[foreign] = 0
            else:
                window[foreign] = np.resize(fill, int(foreign.sum()))
        return window

    def _foreign(self, begin: int, start: int, end: int) -> NDArray[np.bool_]:
        """Which samples (clip_samples,) of a window belong to other sounds."""
        first = begin // self._frame - _MARGIN_FRAMES
        n_frames = self._clip // self._frame + 2 * _MARGIN_FRAMES + 2
        active = padded(self._active, first - self._kept_frame, n_frames)
        own_first, own_last = start // self._frame - first, -(-end // self._frame) - first
        active[max(0, own_first) : max(0, own_last)] = False
        wide = np.convolve(active, np.ones(2 * _MARGIN_FRAMES + 1), "same") > 0
        samples = np.repeat(wide, self._frame)
        skipped = begin - first * self._frame
        return samples[skipped : skipped + self._clip] & ~self._span(begin, start, end)

    def _span(self, begin: int, start: int, end: int) -> NDArray[np.bool_]:
        """Which samples (clip_samples,) of a window belong to a sound, with its margins."""
        margin = _MARGIN_FRAMES * self._frame
        span = np.zeros(self._clip, bool)
        span[max(0, start - margin - begin) : max(0, end + margin - begin)] = True
        return span

    def _continuous_window(self, start: int) -> ContinuousWindow | None:
        """The window that begins at a sample; None if it is not all continuous sound."""
        first, last = start // self._frame, (start + self._clip) // self._frame
        if not self._is_continuous(first, last).all():
            return None
        clip_frames, hop_frames = self._clip // self._frame, self.hop_samples // self._frame
        n_before = run_length(self._is_continuous(first - clip_frames, first)[::-1])
        n_after = run_length(self._is_continuous(last, last + hop_frames))
        goes_on = n_after == hop_frames
        stretch_end = start + self._clip + self.hop_samples
        return ContinuousWindow(
            start=start,
            clips=self._cut(start, start + self._clip)[None],
            stretch_start=(first - n_before) * self._frame,
            stretch_end=stretch_end if goes_on else (last + n_after) * self._frame,
        )

    def _is_continuous(self, first: int, last: int) -> NDArray[np.bool_]:
        """Which frames from ``first`` to before ``last`` are, of those that are kept."""
        return self._continuous[max(0, first - self._kept_frame) : last - self._kept_frame]

    def _cut(self, begin: int, end: int) -> Waveform:
        return padded(self._samples, begin - self._kept_from, end - begin)

    def _forget(self) -> None:
        """Drop what no further window can hold."""
        needed = [self._next_continuous - self._clip]
        reach = self._clip + max((abs(offset) for offset in self._offsets), default=0)
        needed += [start - reach for _, start, _ in self._waiting]
        needed.append(self._n_frames * self._frame - 2 * reach)
        open_sound = self._finder.open_sound
        if open_sound:
            needed.append(open_sound.first * self._frame - reach)
        keep = max(self._kept_from, min(needed) // self._frame * self._frame)
        self._samples = self._samples[keep - self._kept_from :].copy()
        dropped_frames = keep // self._frame - self._kept_frame
        self._active = self._active[dropped_frames:].copy()
        self._loud = self._loud[dropped_frames:].copy()
        self._continuous = self._continuous[dropped_frames:].copy()
        self._kept_from = keep
