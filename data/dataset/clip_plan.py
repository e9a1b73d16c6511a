"""How recordings become clips: their length and rate, chosen from the files, and windows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earful.data.audio.bandwidth import find_bandwidth_hz
from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import read_blocks
from earful.data.dataset.clip_length import (
    CLIP_LENGTHS_SECONDS,
    ClipLength,
    choose_clip_length,
    max_windows_each,
    window_spans,
)
from earful.data.dataset.sample_rate import LOW_RATE_HZ, SampleRate, choose_sample_rate
from earful.data.labels.clip import Clip
from earful.data.labels.times import FileLengths

# Files whose spectrum is looked at, and how much of each.
_BANDWIDTH_FILES = 50
_BANDWIDTH_SECONDS = 30.0


@dataclass(frozen=True)
class ClipPlan:
    """The clips of a dataset, and how they are stored.

    clips          those of the labels, or windows of the long ones
    windowed       whether some are windows, which belong together by recording
    reason         what was chosen and why, in one line; empty where nothing was
    """

    clips: tuple[Clip, ...]
    clip_seconds: float
    sample_rate_hz: int
    windowed: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _Survey:
    """The length of each clip (None: unknown), and the rate of each file, by their headers."""

    lengths: tuple[float | None, ...]
    file_rates: dict[Path, int]

    @property
    def known_lengths(self) -> list[float]:
        return [length for length in self.lengths if length is not None]


def plan_clips(
    clips: Sequence[Clip], clip_seconds: float | None = None, sample_rate_hz: int | None = None
) -> ClipPlan:
    """Choose what is None from the lengths, rates and bandwidths of the files.

    Without ``clip_seconds``, recordings become windows where too few fit in 10 s.
    """
    if clip_seconds is not None and sample_rate_hz is not None:
        return ClipPlan(tuple(clips), clip_seconds, sample_rate_hz)
    survey = _read_headers(clips)
    rate = _choose_rate(survey) if sample_rate_hz is None else SampleRate(sample_rate_hz, "")
    because = [rate.reason] if rate.reason else []
    if clip_seconds is not None:
        reason = ": ".join([f"{rate.hz} Hz", *because])
        return ClipPlan(tuple(clips), clip_seconds, rate.hz, reason=reason)
    length = choose_clip_length(survey.known_lengths)
    planned = _cut_windows(clips, survey, length) if length.windowed else tuple(clips)
    reason = "; ".join([_describe(clips, planned, survey, length, rate.hz), *because])
    return ClipPlan(planned, length.seconds, rate.hz, length.windowed, reason)


def _read_headers(clips: Sequence[Clip]) -> _Survey:
    """Files that cannot be read have no length here; decoding them says why."""
    files = FileLengths()
    found = {path: files.find(path) for path in dict.fromkeys(clip.path for clip in clips)}
    rates = {path: length[1] for path, length in found.items() if length is not None}
    return _Survey(tuple(_length(clip, found[clip.path]) for clip in clips), rates)


def _length(clip: Clip, file: tuple[float, int] | None) -> float | None:
    if clip.span is None:
        return None if file is None else file[0]
    start, end = clip.span
    late = 0.0 if file is None else end - file[0]
    inside = late <= 0 or late > clip.end_tolerance_seconds
    return end - start - (0.0 if inside else late)


def _choose_rate(survey: _Survey) -> SampleRate:
    rates = Counter(survey.file_rates.values())
    if not rates or rates.most_common(1)[0][0] <= LOW_RATE_HZ:
        return choose_sample_rate(rates, ())
    files = list(survey.file_rates.items())
    sample = files[:: -(-len(files) // _BANDWIDTH_FILES)]
    widths = [_bandwidth_of(path, rate_hz) for path, rate_hz in sample]
    return choose_sample_rate(rates, [width for width in widths if width])


def _bandwidth_of(path: Path, rate_hz: int) -> float:
    """The bandwidth of the start of a file; 0 if it is silent or cannot be read."""
    parts: list[Waveform] = [np.zeros(0, np.float32)]
    try:
        for block in read_blocks(path, rate_hz):
            parts.append(block)
            if sum(map(len, parts)) >= _BANDWIDTH_SECONDS * rate_hz:
                break
    except AudioError:
        return 0.0
    return find_bandwidth_hz(np.concatenate(parts), rate_hz)


def _cut_windows(clips: Sequence[Clip], survey: _Survey, length: ClipLength) -> tuple[Clip, ...]:
    """The clips, long ones as windows; an end that a header promises in vain is tolerated."""
    each = max_windows_each(len(clips))
    cut: list[Clip] = []
    for clip, seconds in zip(clips, survey.lengths, strict=True):
        start = clip.start_seconds or 0.0
        spans = window_spans(start, start + (seconds or 0.0), length.seconds, each)
        cut += [
            replace(
                clip, start_seconds=first, end_seconds=last, end_tolerance_seconds=length.seconds
            )
            for first, last in spans
        ] or [clip]
    return tuple(cut)


def _describe(
    clips: Sequence[Clip],
    planned: Sequence[Clip],
    survey: _Survey,
    length: ClipLength,
    rate_hz: int,
) -> str:
    """``clips of 5 s at 16000 Hz: 97 % of the recordings fit (median 5.0 s)``."""
    lengths = survey.known_lengths
    noun = "recordings" if all(clip.start_seconds is None for clip in clips) else "clips"
    if not lengths:
        return f"clips of {length.seconds:g} s at {rate_hz} Hz: no length could be read"
    median = f"median {np.median(lengths):.1f} s"
    if not length.windowed:
        share = (
            f"all {noun} fit"
            if length.share == 1
            else f"{100 * length.share:.0f} % of the {noun} fit"
        )
        return f"clips of {length.seconds:g} s at {rate_hz} Hz: {share} ({median})"
    longest = CLIP_LENGTHS_SECONDS[-1]
    limit = max_windows_each(len(clips))
    return (
        f"windows of {length.seconds:g} s at {rate_hz} Hz: {100 * length.share:.0f} % of the "
        f"{noun} fit in {longest:g} s ({median}), so {len(clips)} {noun} give {len(planned)} "
        f"clips, at most {limit} each, and accuracy counts clips"
    )
