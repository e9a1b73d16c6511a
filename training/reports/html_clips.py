"""Audio and spectrograms of clips as data URIs for HTML reports."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import librosa
import numpy as np
import soundfile
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.decode import END_TOLERANCE_SECONDS, AudioError, Waveform
from earful.data.audio.stream_reader import loudest_window, read_blocks, read_segment
from earful.data.labels.clip import Clip
from earful.training.plots.chart import png_uri

# Longer clips are cut; all are resampled.
MAX_MEDIA_SECONDS = 5.0
MEDIA_RATE_HZ = 16_000
# Spectrograms of clips: window, least hop, size in pixels; dynamic range of all.
_N_FFT, _MIN_HOP, _WIDTH, _HEIGHT = 256, 64, 256, 96
_DPI, _RANGE_DB = 80, 70.0


@dataclass(frozen=True)
class ClipMedia:
    """A clip's audio and spectrogram as data URIs, or in ``missing`` why there are none."""

    audio: str = ""
    spectrogram: str = ""
    missing: str = ""


def load_labelled_clip(clip: Clip) -> ClipMedia:
    """``load_clip_media`` of a row of a labels CSV."""
    if clip.start_seconds is None or clip.end_seconds is None:
        return load_clip_media(clip.path)
    times = (clip.start_seconds, clip.end_seconds)
    return load_clip_media(clip.path, times, clip.end_tolerance_seconds)


def load_clip_media(
    path: Path,
    time_span: tuple[float, float] | None = None,
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS,
) -> ClipMedia:
    """The start of a time span (seconds) of a file; without a span, the loudest five seconds."""
    try:
        waveform = _read_audio(path, time_span, end_tolerance_seconds)
    except AudioError as error:
        return ClipMedia(missing=f"cannot be played: {error}")
    return ClipMedia(
        audio_uri(waveform, MEDIA_RATE_HZ),
        _spectrogram_uri(waveform, MEDIA_RATE_HZ, _source_rate_hz(path)),
    )


def waveform_media(waveform: Waveform, rate_hz: int) -> ClipMedia:
    """Media of a decoded waveform (samples,)."""
    return ClipMedia(audio_uri(waveform, rate_hz), _spectrogram_uri(waveform, rate_hz, rate_hz))


def _read_audio(
    path: Path, time_span: tuple[float, float] | None, end_tolerance_seconds: float
) -> Waveform:
    def blocks() -> Iterator[Waveform]:
        return read_blocks(path, MEDIA_RATE_HZ)

    if time_span is None:
        return loudest_window(blocks, round(MAX_MEDIA_SECONDS * MEDIA_RATE_HZ))[1]
    start, end = time_span
    end = min(end, start + MAX_MEDIA_SECONDS)
    return read_segment(blocks, MEDIA_RATE_HZ, start, end, end_tolerance_seconds)


def _source_rate_hz(path: Path) -> int:
    try:
        return read_duration_and_rate(path)[1]
    except AudioError:
        return MEDIA_RATE_HZ


def file_seconds(path: Path) -> float:
    """The length of a recording by its header; 0 if it cannot be read."""
    try:
        return read_duration_and_rate(path)[0]
    except (AudioError, ValueError):  # a NUL in the name
        return 0.0


def audio_uri(waveform: Waveform, rate_hz: int, format_name: Literal["wav", "flac"] = "wav") -> str:
    """A waveform (samples,) as a file of 16 bits in a data URI."""
    buffer = io.BytesIO()
    clipped = np.clip(waveform, -1, 1)
    soundfile.write(buffer, clipped, rate_hz, format=format_name.upper(), subtype="PCM_16")
    return f"data:audio/{format_name};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_spectrogram(
    decibels: NDArray[np.float32], width: int, height: int, top_db: float
) -> tuple[Figure, Any]:
    """A figure of so many pixels with a spectrogram (bins, frames), its axes in bins and frames."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    shades = {"cmap": "magma", "vmin": top_db - _RANGE_DB, "vmax": top_db}
    axes.imshow(decibels, origin="lower", aspect="auto", interpolation="nearest", **shades)
    axes.set_axis_off()
    return figure, axes


def _spectrogram_uri(waveform: Waveform, rate_hz: int, source_rate_hz: int) -> str:
    """A spectrogram as PNG, in decibels, up to the Nyquist frequency of the source."""
    hop = max(_MIN_HOP, len(waveform) // _WIDTH)  # more columns than pixels only take time
    source_bins = slice(None, max(2, _N_FFT // 2 * source_rate_hz // rate_hz))
    padded = np.pad(waveform, (0, max(0, _N_FFT - len(waveform))))
    magnitude = np.abs(librosa.stft(padded, n_fft=_N_FFT, hop_length=hop))[source_bins]
    decibels = librosa.amplitude_to_db(magnitude, ref=np.max, top_db=_RANGE_DB)
    return png_uri(draw_spectrogram(decibels, _WIDTH, _HEIGHT, 0.0)[0])
