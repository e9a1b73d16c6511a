"""Measurements of a clip: level, clipping, audio hash, and a log-mel thumbnail."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform, resample
from earful.data.audio.fingerprint import audio_hash
from earful.data.audio.windows import loudest_clip
from earful.data.dataset.reader import ClipAudio
from earful.data.features.config import FeatureConfig
from earful.data.features.numpy_log_mel import log_mel
from earful.data.labels.clip import Clip

# Speech and most other labelled sounds are mainly below 8 kHz.
THUMBNAIL_FEATURES = FeatureConfig(
    sample_rate_hz=16_000,
    n_fft=512,
    win_length=512,
    hop_length=160,
    n_mels=40,
    n_mfcc=40,
    f_min_hz=60.0,
    f_max_hz=7_600.0,
)
# Of longer clips, the loudest part of this length is used.
MAX_THUMBNAIL_SECONDS = 4.0
# Chosen by leave-one-out accuracy on FSDD and the keywords.
THUMBNAIL_FRAMES = 24
_DYNAMIC_RANGE_DB = 60.0
_ACTIVE_DB = 12.0
_MARGIN_SHARE = 0.25

# Clipped waveforms stay within two 16-bit steps of the extreme for several samples. So does quiet
# audio, which spans only a few steps, hence a minimal peak.
_SAMPLE_STEP_16_BIT = 1 / 32768
_CLIPPING_TOLERANCE_STEPS = 2
_MIN_CLIPPED_RUN = 3
_MIN_CLIPPING_PEAK = 0.25

Thumbnail = NDArray[np.float16]


@dataclass(frozen=True)
class ClipMeasurement:
    """Measurements of a usable clip.

    dc_offset      mean, full scale 1.0
    peak           absolute peak after removing the offset, full scale 1.0
    clipped_share  share of samples at the extreme value
    audio_hash     identifies the audio (``data.audio.fingerprint``)
    thumbnail      (2, THUMBNAIL_FRAMES * n_mels), input of ``label_errors``
    encoder_vector (288,), input of ``label_errors``; None where clips are not encoded
    """

    clip: Clip
    seconds: float
    rate_hz: int
    dc_offset: float
    peak: float
    clipped_share: float
    audio_hash: str
    thumbnail: Thumbnail
    encoder_vector: NDArray[np.float32] | None = None


def measure_clip(clip: Clip, audio: ClipAudio) -> ClipMeasurement:
    """Measure a clip at the sample rate of its file."""
    waveform, rate_hz = audio.waveform, audio.source_rate_hz
    dc_offset = float(waveform.mean(dtype=np.float64))
    return ClipMeasurement(
        clip=clip,
        seconds=len(waveform) / rate_hz,
        rate_hz=rate_hz,
        dc_offset=dc_offset,
        peak=float(np.abs(waveform - np.float32(dc_offset)).max()),
        clipped_share=clipped_share(waveform),
        audio_hash=audio_hash(waveform),
        thumbnail=log_mel_thumbnail(resample(waveform, rate_hz, THUMBNAIL_FEATURES.sample_rate_hz)),
    )


def clipped_share(waveform: Waveform) -> float:
    """Share of samples (samples,) in runs of three or more at the extreme value.

    0 where the peak is 12 dB or more below full scale.
    """
    high, low = float(waveform.max()), float(waveform.min())
    if max(high, -low) < _MIN_CLIPPING_PEAK or high == low:
        return 0.0
    tolerance = _CLIPPING_TOLERANCE_STEPS * _SAMPLE_STEP_16_BIT
    extreme = np.concatenate(
        [[False], (waveform >= high - tolerance) | (waveform <= low + tolerance), [False]]
    )
    edges = np.flatnonzero(np.diff(extreme))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _MIN_CLIPPED_RUN].sum() / len(waveform))


def limit_length(waveform: Waveform) -> Waveform:
    """The loudest MAX_THUMBNAIL_SECONDS of (samples,) at 16 kHz; a shorter clip as it is."""
    max_samples = round(MAX_THUMBNAIL_SECONDS * THUMBNAIL_FEATURES.sample_rate_hz)
    return waveform if len(waveform) <= max_samples else loudest_clip(waveform, max_samples)


def log_mel_thumbnail(waveform: Waveform) -> Thumbnail:
    """Log-mel of (samples,) at 16 kHz as (2, THUMBNAIL_FRAMES * n_mels), whatever length and level.

    The first view spans the frames within 12 dB of the loudest one; the second adds a quarter of
    that span on either side. Both are resampled to THUMBNAIL_FRAMES frames, limited to 60 dB below
    the maximum, and given in units of 10 dB with zero mean.
    """
    decibels = log_mel(limit_length(waveform), THUMBNAIL_FEATURES)
    loudness = 10 * np.log10((10 ** (decibels / 10)).sum(axis=1))
    # Not librosa.effects.trim: see data.features.numpy_log_mel.
    active = np.flatnonzero(loudness > loudness.max() - _ACTIVE_DB)
    first, last = int(active[0]), int(active[-1]) + 1
    floor = decibels.max() - _DYNAMIC_RANGE_DB
    margin = max(2, math.floor(_MARGIN_SHARE * (last - first)))
    padded = np.pad(
        np.maximum(decibels, floor), ((margin, margin), (0, 0)), constant_values=float(floor)
    )
    tight = padded[first + margin : last + margin]
    wide = padded[first : last + 2 * margin]
    return np.stack([_resample_frames(tight), _resample_frames(wide)])


def _resample_frames(decibels: NDArray[np.float32]) -> Thumbnail:
    """(frames, n_mels) to (THUMBNAIL_FRAMES * n_mels,), with linear interpolation."""
    position = np.linspace(0, len(decibels) - 1, THUMBNAIL_FRAMES)
    before = np.floor(position).astype(np.intp)
    after = np.minimum(before + 1, len(decibels) - 1)
    share = (position - before)[:, None]
    frames = decibels[before] * (1 - share) + decibels[after] * share
    return np.asarray((frames - frames.mean()) / 10, np.float16).ravel()
