"""Clips inside an HTML page: the sound to play and its spectrogram, as data URIs."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import loudest_window, read_blocks, read_segment

# What is played and drawn, at most, of a clip.
SHOWN_SECONDS = 5.0
SHOWN_RATE_HZ = 16_000


@dataclass(frozen=True)
class Shown:
    """A clip's sound and picture as data URIs, or why there are none."""

    audio: str = ""
    picture: str = ""
    missing: str = ""


def templates() -> Environment:
    """The templates of the HTML reports; what is filled in is escaped."""
    return Environment(
        loader=PackageLoader("earful.training.reports"), autoescape=select_autoescape(), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def show(path: Path, stretch: tuple[float, float] | None = None) -> Shown:
    """The beginning of a stretch (seconds) of a file, or of the whole the part that is loudest."""
    try:
        sound = _sound(path, stretch)
    except AudioError as error:
        return Shown(missing=f"cannot be played: {error}")
    return Shown(
        _wav_uri(sound, SHOWN_RATE_HZ),
        _spectrogram_uri(sound, SHOWN_RATE_HZ, _source_rate_hz(path)),
    )


def show_waveform(sound: Waveform, rate_hz: int) -> Shown:
    """A waveform (samples,) that is at hand, as it is."""
    return Shown(_wav_uri(sound, rate_hz), _spectrogram_uri(sound, rate_hz, rate_hz))


def _sound(path: Path, stretch: tuple[float, float] | None) -> Waveform:
    def blocks() -> Iterator[Waveform]:
        return read_blocks(path, SHOWN_RATE_HZ)

    if stretch is None:
        return loudest_window(blocks, round(SHOWN_SECONDS * SHOWN_RATE_HZ))[1]
    start, end = stretch
    return read_segment(blocks, SHOWN_RATE_HZ, start, min(end, start + SHOWN_SECONDS))


def _source_rate_hz(path: Path) -> int:
    try:
        return int(soundfile.info(path).samplerate)
    except soundfile.SoundFileError:
        return SHOWN_RATE_HZ


def _wav_uri(sound: Waveform, rate_hz: int) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(sound, -1, 1), rate_hz, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _spectrogram_uri(sound: Waveform, rate_hz: int, source_rate_hz: int) -> str:
    """Decibels over time and all frequencies that its source holds, as a picture without axes."""
    figure = Figure(figsize=(3.2, 1.2), dpi=80)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    padded = np.pad(sound, (0, max(0, 512 - len(sound))))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, 512)[::128] * np.hanning(512)
    held = slice(None, max(2, 256 * source_rate_hz // rate_hz))
    decibels = 20 * np.log10(np.abs(np.fft.rfft(blocks)).T[held] + 1e-6)
    axes.imshow(
        decibels, origin="lower", aspect="auto", cmap="magma", vmax=decibels.max(),
        vmin=decibels.max() - 70,
    )  # fmt: skip
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
