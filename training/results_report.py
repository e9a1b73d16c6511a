"""Results of ``classify`` as one HTML file to look at: it needs no other file and no network.

Read once, row by row; only what is shown is kept, so that a hundred million rows are as light as a
hundred.
"""

import base64
import heapq
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data.audio import AudioError, Waveform
from data.labels import label_order
from data.recording import loudest_window, read_blocks, read_stretch
from data.staging import staged_file
from service.batch.errors import BatchError
from service.batch.results import read_results
from service.batch.rows import Row
from training.metrics import wilson_interval

BINS = 20
# Of errors, so many names a cause are shown.
_EXAMPLES = 10
# What is played and drawn, at most, of a clip.
_SHOWN_SECONDS = 5.0
_SHOWN_RATE_HZ = 16_000


@dataclass
class Findings:
    """What a report tells, gathered row by row."""

    rows: int = 0
    files: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    errors: Counter[str] = field(default_factory=Counter)
    error_examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    least_certain: list[Row] = field(default_factory=list)
    surest_mistakes: list[Row] = field(default_factory=list)

    @property
    def labelled(self) -> int:
        return sum(self.confusion.values())

    @property
    def right(self) -> int:
        return sum(n for (truth, label), n in self.confusion.items() if truth == label)


@dataclass(frozen=True)
class Shown:
    """A row with its sound and picture as data URIs, or why there are none."""

    row: Row
    score: float
    audio: str = ""
    picture: str = ""
    missing: str = ""


def write_results_report(
    results: Path, out: Path, *, clips: int = 24, audio_dir: Path | None = None
) -> Findings:
    """Write the report of a file of results; ``clips`` of each kind can be heard.

    Relative names are looked up in ``audio_dir``, or in the working folder.

    Raises:
        BatchError: the results cannot be read, or there are none.
        OutputError: ``out`` cannot be written.
    """
    if out.resolve() == results.resolve():
        raise BatchError(f"{out} holds the results; give another --out")
    found = gather(read_results(results), clips)
    if not found.rows:
        raise BatchError(f"{results} holds no row; classify something first")
    environment = Environment(
        loader=PackageLoader("training"), autoescape=select_autoescape(), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    folder = audio_dir or Path()
    page = environment.get_template("results.html").render(
        name=results.name,
        found=found,
        most=max([*found.labels.values(), 1]),
        labels=sorted(found.labels.items(), key=lambda item: (-item[1], item[0])),
        highest_bin=max([*found.bins, 1]),
        agreement=_agreement(found),
        table=_table(found),
        errors=found.errors.most_common(),
        least_certain=[show(row, folder) for row in found.least_certain],
        surest_mistakes=[show(row, folder) for row in found.surest_mistakes],
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
    return found


def gather(rows: Iterable[Row], clips: int) -> Findings:
    """All that a report tells of the rows, with the ``clips`` rows of each kind worth hearing."""
    found = Findings()
    unsure: list[tuple[float, int, Row]] = []
    mistaken: list[tuple[float, int, Row]] = []
    last = None
    for number, row in enumerate(rows):
        found.rows += 1
        found.files += row.filename != last
        last = row.filename
        if row.error:
            _count_error(found, row)
            continue
        if not row.scores:
            found.labels["(no hit)"] += 1
            continue
        score = row.scores[0][1]
        found.labels[row.label] += 1
        found.bins[min(int(score * BINS), BINS - 1)] += 1
        _keep(unsure, (-score, -number, row), clips)
        if row.truth:
            found.confusion[row.truth, row.label] += 1
            if row.truth != row.label:
                _keep(mistaken, (score, -number, row), clips)
    found.least_certain = [row for _, _, row in sorted(unsure, reverse=True)]
    found.surest_mistakes = [row for _, _, row in sorted(mistaken, reverse=True)]
    return found


def show(row: Row, folder: Path) -> Shown:
    """A row with what it sounds and looks like: a window, or where a longer stretch is loudest."""
    score, path = row.scores[0][1], folder / row.filename
    try:
        sound = _sound(path, row.start or 0.0, row.end or _SHOWN_SECONDS)
    except AudioError as error:
        return Shown(row, score, missing=f"cannot be played: {error}")
    return Shown(row, score, _wav_uri(sound), _spectrogram_uri(sound, _source_rate_hz(path)))


def _sound(path: Path, start_seconds: float, end_seconds: float) -> Waveform:
    def blocks() -> Iterator[Waveform]:
        return read_blocks(path, _SHOWN_RATE_HZ)

    if start_seconds == 0.0 and end_seconds > _SHOWN_SECONDS:
        return loudest_window(blocks, round(_SHOWN_SECONDS * _SHOWN_RATE_HZ))[1]
    end_seconds = min(end_seconds, start_seconds + _SHOWN_SECONDS)
    return read_stretch(blocks, _SHOWN_RATE_HZ, start_seconds, end_seconds)


def _source_rate_hz(path: Path) -> int:
    try:
        return int(soundfile.info(path).samplerate)
    except soundfile.SoundFileError:
        return _SHOWN_RATE_HZ


def _keep(heap: list[tuple[float, int, Row]], item: tuple[float, int, Row], most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, item)
    elif most:
        heapq.heappushpop(heap, item)


def _count_error(found: Findings, row: Row) -> None:
    code, _, message = row.error.partition(": ")
    found.errors[code] += 1
    examples = found.error_examples.setdefault(code, [])
    if len(examples) < _EXAMPLES:
        examples.append((row.filename, message))


def _agreement(found: Findings) -> dict[str, float] | None:
    if not found.labelled:
        return None
    low, high = wilson_interval(found.right, found.labelled)
    return {
        "accuracy": 100 * found.right / found.labelled, "low": 100 * low, "high": 100 * high
    }  # fmt: skip


def _table(found: Findings) -> Iterator[tuple[str, list[tuple[str, int, float]]]]:
    """Rows of the confusion table: the label of the list, and (label, clips, share) across."""
    names = label_order([name for pair in found.confusion for name in pair])
    for truth in names:
        total = sum(found.confusion[truth, label] for label in names)
        if total:
            counts = [(label, found.confusion[truth, label]) for label in names]
            yield truth, [(label, n, n / total) for label, n in counts]


def _wav_uri(sound: Waveform) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(sound, -1, 1), _SHOWN_RATE_HZ, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _spectrogram_uri(sound: Waveform, source_rate_hz: int) -> str:
    """Decibels over time and all frequencies that the file holds, as a picture without axes."""
    figure = Figure(figsize=(3.2, 1.2), dpi=80)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    padded = np.pad(sound, (0, max(0, 512 - len(sound))))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, 512)[::128] * np.hanning(512)
    held = slice(None, max(2, 256 * source_rate_hz // _SHOWN_RATE_HZ))
    decibels = 20 * np.log10(np.abs(np.fft.rfft(blocks)).T[held] + 1e-6)
    axes.imshow(
        decibels, origin="lower", aspect="auto", cmap="magma", vmax=decibels.max(),
        vmin=decibels.max() - 70,
    )  # fmt: skip
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
