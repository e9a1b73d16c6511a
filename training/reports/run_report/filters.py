"""What excites the filters of a run's convolutions: the clips that each answers to most.

The stretch of an example is where 90 % of the gradient of its excitation lies: the effective
receptive field ("Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks", Luo et al., arXiv:1701.04128).
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.data.features.extractor import FeatureExtractor
from earful.training.plots.chart import png_uri
from earful.training.reports.html_clips import audio_uri, draw_spectrogram
from earful.training.reports.run_report.filter_outputs import Field, FilterOutputs
from earful.training.reports.run_report.front_end import FrontEnd
from earful.training.trainer.checkpoint import Checkpoint, rebuild_network

MAX_FILTERS, EXAMPLES = 16, 3
# Clips that are searched, and those whose labels are counted.
MAX_SCANNED, MAX_COUNTED = 500, 10
_SEED, _BATCH = 42, 64
# Shorter stretches are shown and played with what is around them.
_MIN_SECONDS = 0.3
_WIDTH, _HEIGHT = 120, 96


@dataclass(frozen=True)
class FilterExample:
    """A stretch of a clip that excites a filter, with a box around what it answers to."""

    filename: str
    label: str
    start_seconds: float
    end_seconds: float
    image: str
    audio: str


@dataclass(frozen=True)
class FilterReport:
    """A filter: ``count`` of the clips that excite it most have the label ``label``."""

    number: int
    label: str
    count: int
    counted: int
    examples: tuple[FilterExample, ...]


@dataclass(frozen=True)
class LayerFilters:
    """Filters of one convolution, evenly spaced among its ``total``."""

    title: str
    name: str
    total: int
    filters: tuple[FilterReport, ...]

    @property
    def media_bytes(self) -> int:
        return sum(_media_bytes(example) for each in self.filters for example in each.examples)


def report_filters(
    checkpoint: Checkpoint, dataset: Dataset, rows: NDArray[np.int64], max_media_bytes: int
) -> list[LayerFilters]:
    """The filters of the first and last convolution; empty for a network without any."""
    scanner = _FilterScanner(checkpoint, dataset, rows)
    layers = [scanner.report(*layer, max_media_bytes // 2) for layer in scanner.layers()]
    return [layer for layer in layers if layer.filters]


class _FilterScanner:
    """Searches clips for those that excite the filters of a run's network most."""

    def __init__(self, checkpoint: Checkpoint, dataset: Dataset, rows: NDArray[np.int64]) -> None:
        if len(rows) > MAX_SCANNED:
            rng = np.random.default_rng(_SEED)
            rows = np.sort(rng.choice(rows, MAX_SCANNED, replace=False))
        self._rows, self._dataset = rows, dataset
        extractor = FeatureExtractor(checkpoint.features, checkpoint.config.features)
        self._outputs = FilterOutputs(rebuild_network(checkpoint), extractor)
        self._front_end = FrontEnd(extractor, dataset.features)

    def layers(self) -> list[tuple[str, str]]:
        """(title, name) of the first and last convolution over several positions."""
        names = self._outputs.convolutions
        last = [("Last convolution", names[-1])] if len(names) > 1 else []
        return [("First convolution", names[0]), *last] if names else []

    def report(self, title: str, name: str, max_media_bytes: int) -> LayerFilters:
        """Filters of one convolution, as many as fit."""
        batches = range(0, len(self._rows), _BATCH)
        waveforms = (self._waveforms(self._rows[i : i + _BATCH]) for i in batches)
        peaks = np.concatenate([self._outputs.peaks(batch, name) for batch in waveforms])
        total = peaks.shape[1]
        chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_FILTERS)).round().astype(int))
        reports = [
            self._filter(int(n), peaks[:, n], name) for n in chosen if np.ptp(peaks[:, n]) > 0
        ]
        for count in range(len(reports), -1, -1):
            kept = np.linspace(0, len(reports) - 1, count).round().astype(int)
            layer = LayerFilters(title, name, total, tuple(reports[i] for i in kept))
            if layer.media_bytes <= max_media_bytes:
                break
        return layer

    def _waveforms(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._dataset.waveforms(rows).astype(np.float32)

    def _filter(self, number: int, peaks: NDArray[np.float32], name: str) -> FilterReport:
        order = np.argsort(-peaks, kind="stable")
        labels = self._dataset.clips["label"]
        counted = [str(labels.iloc[self._rows[i]]) for i in order[:MAX_COUNTED]]
        label, count = Counter(counted).most_common(1)[0]
        examples = tuple(self._example(int(self._rows[i]), number, name) for i in order[:EXAMPLES])
        return FilterReport(number, label, count, len(counted), examples)

    def _example(self, row: int, number: int, name: str) -> FilterExample:
        [waveform] = self._waveforms(np.array([row]))
        field, spectrogram = self._outputs.field(waveform, name, number)
        start, end = self._stretch(field)
        hop, padding = self._front_end.hop_length, self._front_end.padding
        shown = slice((start + padding) // hop, (end + padding) // hop + 1)
        clip, rate_hz = self._dataset.clips.iloc[row], self._dataset.features.sample_rate_hz
        return FilterExample(
            filename=clip["filename"],
            label=clip["label"],
            start_seconds=start / rate_hz,
            end_seconds=end / rate_hz,
            image=_draw(self._front_end.decibels(spectrogram), shown, field),
            audio=audio_uri(waveform[start:end], rate_hz),
        )

    def _stretch(self, field: Field) -> tuple[int, int]:
        """Start and end sample of a field in its clip, or of what is around a short one."""
        config, hop = self._dataset.features, self._front_end.hop_length
        first, last = field.frames
        middle = (first + last) / 2 * hop - self._front_end.padding
        half = max((last - first + 1) * hop, _MIN_SECONDS * config.sample_rate_hz) / 2
        start = int(min(max(0, middle - half), max(0, config.clip_samples - 2 * half)))
        return start, int(min(config.clip_samples, start + 2 * half))


def _media_bytes(example: FilterExample) -> int:
    return len(example.image) + len(example.audio)


def _draw(decibels: NDArray[np.float32], shown: slice, field: Field) -> str:
    """A PNG of some frames of a log-mel (bins, frames), with a box around the field."""
    figure, axes = draw_spectrogram(decibels[:, shown], _WIDTH, _HEIGHT, float(decibels.max()))
    low, high = field.bins or (0, len(decibels) - 1)
    left = field.frames[0] - shown.start - 0.5
    width, height = field.frames[1] - field.frames[0] + 1, high - low + 1
    axes.add_patch(
        Rectangle((left, low - 0.5), width, height, fill=False, color="white", linewidth=2)
    )
    return png_uri(figure)
