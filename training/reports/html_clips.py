"""Audio and spectrograms of clips as data URIs for HTML reports."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.decode import END_TOLERANCE_SECONDS, AudioError, Waveform
from earful.data.audio.stream_reader import loudest_window, read_blocks, read_segment
from earful.training.plots.long_text import quiet_drawing

# Longer clips are cut; all are resampled.
MAX_MEDIA_SECONDS = 5.0
MEDIA_RATE_HZ = 16_000
# Spectrograms: window, least hop, size in pixels, dynamic range.
_N_FFT, _MIN_HOP, _WIDTH, _HEIGHT, _RANGE_DB = 256, 64, 256, 96, 70.0


@dataclass(frozen=True)
class ClipMedia:
    """A clip's audio and spectrogram as data URIs, or in ``missing`` why there are none."""

    audio: str = ""
    spectrogram: str = ""
    missing: str = ""


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
        wav_uri(waveform, MEDIA_RATE_HZ),
        _spectrogram_uri(waveform, MEDIA_RATE_HZ, _source_rate_hz(path)),
    )


def waveform_media(waveform: Waveform, rate_hz: int) -> ClipMedia:
    """Media of a decoded waveform (samples,)."""
    return ClipMedia(wav_uri(waveform, rate_hz), _spectrogram_uri(waveform, rate_hz, rate_hz))


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


def wav_uri(waveform: Waveform, rate_hz: int) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate_hz, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure_uri(figure: Figure) -> str:
    """A figure as PNG."""
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    with quiet_drawing():
        canvas.print_png(buffer)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _spectrogram_uri(waveform: Waveform, rate_hz: int, source_rate_hz: int) -> str:
    """A spectrogram as PNG, in decibels, up to the Nyquist frequency of the source."""
    figure = Figure(figsize=(_WIDTH / 80, _HEIGHT / 80), dpi=80)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    hop = max(_MIN_HOP, len(waveform) // _WIDTH)  # more columns than pixels only take time
    source_bins = slice(None, max(2, _N_FFT // 2 * source_rate_hz // rate_hz))
    padded = np.pad(waveform, (0, max(0, _N_FFT - len(waveform))))
    magnitude = np.abs(librosa.stft(padded, n_fft=_N_FFT, hop_length=hop))[source_bins]
    decibels = librosa.amplitude_to_db(magnitude, ref=np.max, top_db=_RANGE_DB)
    librosa.display.specshow(decibels, ax=axes, cmap="magma", vmin=-_RANGE_DB, vmax=0)
    axes.set_axis_off()
    return figure_uri(figure)
