"""Read the audio of labelled clips one by one."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earful.data.audio.decode import (
    AudioError,
    Decoded,
    Waveform,
    decode,
    extract_segment,
    read_file,
)
from earful.data.audio.windows import loudest_clip
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip

SILENCE_DBFS = -100.0


@dataclass(frozen=True)
class ClipAudio:
    """A clip's waveform (samples,) float32, the SHA-256 of its file and the file's own rate."""

    waveform: Waveform
    sha256: str
    source_rate_hz: int


@dataclass(frozen=True)
class MeasuredClip:
    """A clip for a dataset: its loudest window (clip_samples,), and measures of the whole clip."""

    window: Waveform
    seconds: float
    sha256: str
    peak_dbfs: float
    rms_dbfs: float


def measure_clips(
    clips: Iterable[Clip], features: FeatureConfig
) -> Iterator[tuple[Clip, MeasuredClip | AudioError]]:
    """Each clip with its ``MeasuredClip``, or the error of its audio."""
    for clip, audio in read_clips(clips, features.sample_rate_hz):
        yield clip, audio if isinstance(audio, AudioError) else _measure(audio, features)


def read_clips(
    clips: Iterable[Clip], sample_rate_hz: int | None
) -> Iterator[tuple[Clip, ClipAudio | AudioError]]:
    """Each clip with its audio at ``sample_rate_hz`` (None: the file's own), or its error.

    Consecutive clips of one file decode it once. Segments of a file are copies, so that keeping one
    does not keep the whole waveform in memory.
    """
    path: Path | None = None
    opened: tuple[Decoded, str] | AudioError = AudioError("empty_audio", "nothing read yet")
    for clip in clips:
        if clip.path != path:
            path, opened = clip.path, _decode_file(clip.path, sample_rate_hz)
        yield clip, opened if isinstance(opened, AudioError) else _extract_clip(clip, *opened)


def _decode_file(path: Path, sample_rate_hz: int | None) -> tuple[Decoded, str] | AudioError:
    try:
        blob = read_file(path)
        return decode(blob, sample_rate_hz), hashlib.sha256(blob).hexdigest()
    except AudioError as error:
        return error


def _extract_clip(clip: Clip, decoded: Decoded, sha256: str) -> ClipAudio | AudioError:
    try:
        times = (clip.start_seconds, clip.end_seconds, clip.end_tolerance_seconds)
        waveform = extract_segment(decoded, *times)
    except AudioError as error:
        return error
    if len(waveform) < len(decoded.waveform):
        waveform = waveform.copy()
    return ClipAudio(waveform, sha256, decoded.source_rate_hz)


def _measure(audio: ClipAudio, features: FeatureConfig) -> MeasuredClip:
    waveform = audio.waveform
    rms = math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64))))
    peak = float(np.abs(waveform).max())
    return MeasuredClip(
        window=loudest_clip(waveform, features.clip_samples),
        seconds=len(waveform) / features.sample_rate_hz,
        sha256=audio.sha256,
        peak_dbfs=_dbfs(peak),
        rms_dbfs=_dbfs(rms),
    )


def _dbfs(amplitude: float) -> float:
    return max(SILENCE_DBFS, 20 * math.log10(max(amplitude, 1e-12)))
