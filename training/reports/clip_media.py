"""Clips on a map: a small spectrogram, and the audio as a data URI or a link to its file."""

import base64
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.pcm import as_float
from earful.data.dataset.dataset import Dataset
from earful.training.reports.html_clips import audio_uri

# Spectrogram images: maximal rows and columns, number of shades, dynamic range.
_MAX_ROWS, _MAX_COLUMNS, _SHADES, _RANGE_DB = 40, 64, 16, 70.0


@dataclass(frozen=True)
class MapAudioOptions:
    """Audio on the map: embedded up to ``max_bytes`` in total, then links to the files.

    Relative filenames are resolved against ``audio_dir``, or against the working directory.
    """

    max_bytes: int = 32_000_000
    audio_dir: Path | None = None


def encode_spectrogram(log_mel: NDArray[np.float32]) -> str:
    """Encode decibels (n_mels, frames) as base64: rows, columns, then 4 bits per cell.

    Cells are in column order, from the lowest mel bin up. 70 dB below the maximum is shade 0.
    """
    small = _downsample(_downsample(log_mel, _MAX_ROWS, 0), _MAX_COLUMNS, 1)
    share = np.clip((small - small.max()) / _RANGE_DB + 1, 0, 1)
    shades = np.rint(share * (_SHADES - 1)).astype(np.uint8).T.ravel()
    pairs = np.pad(shades, (0, len(shades) % 2)).reshape(-1, 2)
    packed = (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8)
    return base64.b64encode(bytes(small.shape) + packed.tobytes()).decode()


def _downsample(image: NDArray[np.float32], max_size: int, axis: int) -> NDArray[np.float32]:
    """Average neighbours along an axis until it has at most ``max_size`` entries."""
    if image.shape[axis] <= max_size:
        return image
    starts = np.linspace(0, image.shape[axis], max_size, endpoint=False).astype(int)
    sizes = np.diff(starts, append=image.shape[axis])
    sums = np.add.reduceat(image, starts, axis=axis)
    shape = (-1, 1) if axis == 0 else (1, -1)
    return np.asarray(sums / sizes.reshape(shape), np.float32)


def crop_to_clip(
    log_mel: NDArray[np.float32], dataset: Dataset, seconds: float
) -> NDArray[np.float32]:
    """Crop (n_mels, frames) to the clip, without the zero padding around it."""
    features = dataset.features
    start, end = clip_range(dataset, seconds)
    first, last = start // features.hop_length, -(-end // features.hop_length)
    return log_mel[:, first : max(first + 1, last)]


def clip_range(dataset: Dataset, seconds: float) -> tuple[int, int]:
    """Start and end sample of a clip of this length in its stored window (see ``pad_to_clip``)."""
    size = dataset.features.clip_samples
    clip_samples = min(size, max(1, round(seconds * dataset.features.sample_rate_hz)))
    start = (size - clip_samples) // 2
    return start, start + clip_samples


def clip_audio_urls(
    dataset: Dataset,
    rows: NDArray[np.int64],
    priority_rows: Iterable[int],
    out: Path,
    options: MapAudioOptions,
) -> list[str]:
    """A data URI, a link or an empty string for each of ``rows``.

    ``priority_rows`` are embedded first, then the others in order.
    """
    position = {int(row): i for i, row in enumerate(rows)}
    order = dict.fromkeys([*(row for row in priority_rows if row in position), *position])
    urls = [""] * len(position)
    bytes_left = options.max_bytes
    waveforms = dataset.array("waveforms")
    for row in order:
        if bytes_left > 0:
            waveform = clip_waveform(waveforms, dataset, row)
            uri = audio_uri(waveform, dataset.features.sample_rate_hz, "flac")
            bytes_left -= len(uri)
            if bytes_left >= 0:
                urls[position[row]] = uri
                continue
        urls[position[row]] = file_link(dataset, row, out, options.audio_dir or Path())
    return urls


def clip_waveform(waveforms: NDArray[Any], dataset: Dataset, row: int) -> Waveform:
    """A stored clip (samples,) without its zero padding."""
    start, end = clip_range(dataset, float(dataset.clips["seconds"].iloc[row]))
    return as_float(waveforms[row, start:end])


def path_link(path: Path, span: tuple[float, float] | None, out: Path) -> str:
    """As ``file_link``, to a file and a time range in seconds."""
    try:
        path = path.resolve()
        if not path.is_file():
            return ""
    except (OSError, ValueError):  # not a valid filename
        return ""
    relative = os.path.relpath(path, out.resolve().parent)
    times = "" if span is None else f"#t={span[0]:g},{span[1]:g}"
    return f"./{quote(relative)}{times}"


def file_link(dataset: Dataset, row: int, out: Path, audio_dir: Path) -> str:
    """Link to a clip's file relative to the page, with its time range; empty without a file.

    The link starts with a dot and is percent-encoded, so no filename is read as a URL scheme.
    """
    clip = dataset.clips.iloc[row]
    span = None if math.isnan(clip["end"]) else (float(clip["start"]), float(clip["end"]))
    return path_link(audio_dir / clip["filename"], span, out)
