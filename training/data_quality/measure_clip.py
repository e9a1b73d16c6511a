"""What is kept of a clip's sound: a few numbers, its name by content, and a small picture."""

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
from earful.data.labels.labels_csv import Clip

# What is heard of a clip in pictures: speech and most of what else has a name lies below 8 kHz.
PICTURE = FeatureConfig(
    sample_rate_hz=16_000, n_fft=512, win_length=512, hop_length=160, n_mels=40, n_mfcc=40,
    f_min_hz=60.0, f_max_hz=7_600.0,
)  # fmt: skip
# Of a longer clip only so much where it is loudest is heard.
HEARD_SECONDS = 4.0
# Chosen by how often left-out clips of FSDD and of the keywords are recognised.
FRAMES = 24
_RANGE_DB = 60.0
_ACTIVE_DB = 12.0
_MARGIN = 0.25

# A clipped wave stays at its extreme (give or take two steps of 16 bits) for some samples. Quiet
# sound does too, being a few steps high.
_STEP = 1 / 32768
_FLAT_STEPS = 2
_FLAT_RUN = 3
_LOUD = 0.25

Picture = NDArray[np.float16]


@dataclass(frozen=True)
class Sound:
    """A usable clip and what was measured of it.

    ``peak`` is that of the sound without its ``offset`` (mean), both of full scale 1.0;
    ``flat_share`` is the share of samples that stand at the extreme. ``content`` names the sound
    (``data.audio.fingerprint``), ``picture`` (2, FRAMES * n_mels) is what ``wrong_labels`` goes by.
    """

    clip: Clip
    seconds: float
    rate_hz: int
    offset: float
    peak: float
    flat_share: float
    content: str
    picture: Picture


def measure(clip: Clip, audio: ClipAudio) -> Sound:
    """Measure a clip at its file's own rate."""
    waveform, rate_hz = audio.waveform, audio.source_rate_hz
    offset = float(waveform.mean(dtype=np.float64))
    return Sound(
        clip=clip,
        seconds=len(waveform) / rate_hz,
        rate_hz=rate_hz,
        offset=offset,
        peak=float(np.abs(waveform - np.float32(offset)).max()),
        flat_share=flat_share(waveform),
        content=audio_hash(waveform),
        picture=picture(resample(waveform, rate_hz, PICTURE.sample_rate_hz)),
    )


def flat_share(waveform: Waveform) -> float:
    """Share of the samples (samples,) in runs of three or more at the highest or lowest value.

    0 where the sound is 12 dB or more below full scale.
    """
    high, low = float(waveform.max()), float(waveform.min())
    if max(high, -low) < _LOUD or high == low:
        return 0.0
    near = _FLAT_STEPS * _STEP
    extreme = np.concatenate(
        [[False], (waveform >= high - near) | (waveform <= low + near), [False]]
    )
    edges = np.flatnonzero(np.diff(extreme))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _FLAT_RUN].sum() / len(waveform))


def picture(waveform: Waveform) -> Picture:
    """What (samples,) at 16 kHz looks like, however long and loud it is: (2, FRAMES * n_mels).

    The stretch between the first and the last frame within 12 dB of the loudest, and the same
    stretch with a quarter of it on either side; each stretched to FRAMES frames, in units of 10 dB
    around its own mean, 60 dB deep.
    """
    heard = waveform
    if len(waveform) > (most := round(HEARD_SECONDS * PICTURE.sample_rate_hz)):
        heard = loudest_clip(waveform, most)
    decibels = log_mel(heard, PICTURE)
    loudness = 10 * np.log10((10 ** (decibels / 10)).sum(axis=1))
    active = np.flatnonzero(loudness > loudness.max() - _ACTIVE_DB)
    first, last = int(active[0]), int(active[-1]) + 1
    floor = decibels.max() - _RANGE_DB
    margin = max(2, math.floor(_MARGIN * (last - first)))
    padded = np.pad(
        np.maximum(decibels, floor), ((margin, margin), (0, 0)), constant_values=float(floor)
    )
    close = padded[first + margin : last + margin]
    wide = padded[first : last + 2 * margin]
    return np.stack([_stretched(close), _stretched(wide)])


def _stretched(decibels: NDArray[np.float32]) -> Picture:
    """(frames, n_mels) to (FRAMES * n_mels,), linear between frames."""
    position = np.linspace(0, len(decibels) - 1, FRAMES)
    before = np.floor(position).astype(np.intp)
    after = np.minimum(before + 1, len(decibels) - 1)
    share = (position - before)[:, None]
    frames = decibels[before] * (1 - share) + decibels[after] * share
    return np.asarray((frames - frames.mean()) / 10, np.float16).ravel()
