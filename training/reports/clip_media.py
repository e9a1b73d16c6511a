"""What a map shows and plays of a clip: a small picture, and its sound as data or as a link."""

import base64
import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.pcm import as_float
from earful.data.dataset.dataset import Dataset

# Of a picture, so many rows and columns at most, in 16 shades over 70 dB.
_ROWS, _COLUMNS, _SHADES, _RANGE_DB = 40, 64, 16, 70.0


@dataclass(frozen=True)
class Sound:
    """How clips are heard: in the page up to ``most_bytes``, the others as links to their files.

    Relative file names are looked up in ``audio_dir``, or in the working folder.
    """

    most_bytes: int = 32_000_000
    audio_dir: Path | None = None


def picture(log_mel: NDArray[np.float32]) -> str:
    """Decibels (n_mels, frames) as base64: rows, columns, then a shade of 4 bits a cell.

    Cells go up the bands and then on in time; what is 70 dB below the loudest is the darkest shade.
    """
    small = _averaged(_averaged(log_mel, _ROWS, 0), _COLUMNS, 1)
    share = np.clip((small - small.max()) / _RANGE_DB + 1, 0, 1)
    shades = np.rint(share * (_SHADES - 1)).astype(np.uint8).T.ravel()
    pairs = np.pad(shades, (0, len(shades) % 2)).reshape(-1, 2)
    packed = (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8)
    return base64.b64encode(bytes(small.shape) + packed.tobytes()).decode()


def _averaged(image: NDArray[np.float32], most: int, axis: int) -> NDArray[np.float32]:
    """The same image with ``most`` entries along an axis at most, neighbours averaged."""
    if image.shape[axis] <= most:
        return image
    starts = np.linspace(0, image.shape[axis], most, endpoint=False).astype(int)
    sizes = np.diff(starts, append=image.shape[axis])
    sums = np.add.reduceat(image, starts, axis=axis)
    shape = (-1, 1) if axis == 0 else (1, -1)
    return np.asarray(sums / sizes.reshape(shape), np.float32)


def voiced(log_mel: NDArray[np.float32], dataset: Dataset, seconds: float) -> NDArray[np.float32]:
    """The frames of (n_mels, frames) that hold the clip, without the silence it was centred in."""
    features = dataset.features
    start, end = _place(dataset, seconds)
    first, last = start // features.hop_length, -(-end // features.hop_length)
    return log_mel[:, first : max(first + 1, last)]


def _place(dataset: Dataset, seconds: float) -> tuple[int, int]:
    """First and last sample of a clip of this length in its stored window (see pad_to_clip)."""
    size = dataset.features.clip_samples
    held = min(size, max(1, round(seconds * dataset.features.sample_rate_hz)))
    start = (size - held) // 2
    return start, start + held


def sounds(
    dataset: Dataset, shown: NDArray[np.int64], foremost: Iterable[int], out: Path, sound: Sound
) -> list[str]:
    """For each clip that is shown a data URI, a link, or nothing.

    Those of ``foremost`` are put into the page first, then the others in their order.
    """
    position = {int(row): i for i, row in enumerate(shown)}
    order = dict.fromkeys([*(row for row in foremost if row in position), *position])
    found = [""] * len(position)
    left = sound.most_bytes
    waveforms = dataset.array("waveforms")
    for row in order:
        if left > 0:
            uri = _flac_uri(heard(waveforms, dataset, row), dataset)
            left -= len(uri)
            if left >= 0:
                found[position[row]] = uri
                continue
        found[position[row]] = link(dataset, row, out, sound.audio_dir or Path())
    return found


def heard(waveforms: NDArray[Any], dataset: Dataset, row: int) -> Waveform:
    start, end = _place(dataset, float(dataset.clips["seconds"].iloc[row]))
    return as_float(waveforms[row, start:end])


def _flac_uri(waveform: Waveform, dataset: Dataset) -> str:
    buffer = io.BytesIO()
    rate_hz = dataset.features.sample_rate_hz
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate_hz, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def link(dataset: Dataset, row: int, out: Path, audio_dir: Path) -> str:
    """The clip's file as a link relative to the page, with its times; empty when it is not there.

    Whatever the name, the link is a path: it begins with a dot, and its special characters are
    escaped.
    """
    clip = dataset.clips.iloc[row]
    try:
        path = (audio_dir / clip["filename"]).resolve()
        if not path.is_file():
            return ""
    except (OSError, ValueError):  # a name that no file can have
        return ""
    relative = os.path.relpath(path, out.resolve().parent)
    times = "" if math.isnan(clip["end"]) else f"#t={clip['start']:g},{clip['end']:g}"
    return f"./{quote(relative)}{times}"
