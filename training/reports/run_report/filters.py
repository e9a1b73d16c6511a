"""What excites the filters of a run's convolutions: the clips that each answers to most.

A filter is measured after the normalisation that follows it. The stretch of an example is where
90 % of the gradient of its excitation lies: the effective receptive field ("Understanding the
Effective Receptive Field in Deep Convolutional Neural Networks", Luo et al., arXiv:1701.04128).
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import encoder_features, padding_samples
from earful.data.features.extractor import FeatureExtractor
from earful.training.reports.html_clips import figure_uri, wav_uri
from earful.training.trainer.checkpoint import Checkpoint, rebuild_network

MAX_FILTERS, EXAMPLES = 16, 3
# Clips that are searched, and those whose labels are counted.
MAX_SCANNED, MAX_COUNTED = 500, 10
_SEED, _BATCH = 42, 64
# Shorter stretches are shown and played with what is around them.
_MIN_SECONDS = 0.3
_FIELD = (0.05, 0.95)
_WIDTH, _HEIGHT, _DPI, _RANGE_DB = 120, 96, 80, 70.0
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


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


@dataclass(frozen=True)
class _Field:
    """Ranges of frames and bins (first, last) of a feature image; no bins where they mean none."""

    frames: tuple[int, int]
    bins: tuple[int, int] | None


def report_filters(
    checkpoint: Checkpoint, dataset: Dataset, rows: NDArray[np.int64], max_media_bytes: int
) -> list[LayerFilters]:
    """The filters of the first and last convolution; empty for a network without any."""
    scanner = _FilterScanner(checkpoint, dataset, rows)
    reports = []
    for title, name in scanner.layers():
        layer = scanner.report(title, name, max_media_bytes // 2)
        if layer.filters:
            reports.append(layer)
    return reports


class _FilterScanner:
    """Runs a network over clips and records one of its layers."""

    def __init__(self, checkpoint: Checkpoint, dataset: Dataset, rows: NDArray[np.int64]) -> None:
        if len(rows) > MAX_SCANNED:
            rng = np.random.default_rng(_SEED)
            rows = np.sort(rng.choice(rows, MAX_SCANNED, replace=False))
        self._rows, self._dataset = rows, dataset
        self._network = rebuild_network(checkpoint)
        self._extractor = FeatureExtractor(checkpoint.features, checkpoint.config.features)
        leaves = [(n, m) for n, m in self._network.network.named_modules() if not any(m.children())]
        self._leaves = leaves
        self._convolutions = [
            n
            for n, m in leaves
            if isinstance(m, nn.Conv1d | nn.Conv2d)
            and max(m.kernel_size) > 1
            and m.out_channels > 1
        ]

    def layers(self) -> list[tuple[str, str]]:
        """(title, name) of the first and last convolution over several positions."""
        names = self._convolutions
        if not names:
            return []
        last = [("Last convolution", names[-1])] if len(names) > 1 else []
        return [("First convolution", names[0]), *last]

    def report(self, title: str, name: str, max_media_bytes: int) -> LayerFilters:
        measured = self._measured_module(name)
        peaks = np.concatenate(
            [
                self._forward(self._rows[i : i + _BATCH], measured)[1].flatten(2).amax(2).numpy()
                for i in range(0, len(self._rows), _BATCH)
            ]
        )  # (clips, filters)
        total = peaks.shape[1]
        chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_FILTERS)).round().astype(int))
        reports = [
            self._filter(int(n), peaks[:, n], measured) for n in chosen if np.ptp(peaks[:, n]) > 0
        ]
        for count in range(len(reports), -1, -1):
            kept = np.linspace(0, len(reports) - 1, count).round().astype(int)
            layer = LayerFilters(title, name, total, tuple(reports[i] for i in kept))
            if layer.media_bytes <= max_media_bytes:
                break
        return layer

    def _measured_module(self, name: str) -> nn.Module:
        """The normalisation after a convolution, or the convolution itself."""
        names = [n for n, _ in self._leaves]
        place = names.index(name)
        following = self._leaves[place + 1][1] if place + 1 < len(names) else None
        return following if isinstance(following, _NORMS) else self._leaves[place][1]

    def _forward(
        self, rows: NDArray[np.int64], measured: nn.Module, *, gradient: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The image that the first convolution reads, the filters' outputs, and the log-mel."""
        seen: dict[str, Tensor] = {}

        def keep_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen["image"] = inputs[0]

        def keep_output(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen["output"] = output.clone()  # an activation may work in place

        first = self._network.network.get_submodule(self._convolutions[0])
        hooks = [
            first.register_forward_pre_hook(keep_input),
            measured.register_forward_hook(keep_output),
        ]
        try:
            waveforms = torch.from_numpy(self._dataset.waveforms(rows).astype(np.float32))
            with torch.set_grad_enabled(gradient):
                spectrogram = self._extractor.spectrogram(waveforms)
                features = self._network.normalise(self._extractor.finish(spectrogram))
                self._network.network(features.requires_grad_(gradient))
        finally:
            for hook in hooks:
                hook.remove()
        return seen["image"], seen["output"], spectrogram

    def _filter(self, number: int, peaks: NDArray[np.float32], measured: nn.Module) -> FilterReport:
        order = np.argsort(-peaks, kind="stable")
        labels = self._dataset.clips["label"]
        counted = [str(labels.iloc[self._rows[i]]) for i in order[:MAX_COUNTED]]
        label, count = Counter(counted).most_common(1)[0]
        examples = tuple(
            self._example(int(self._rows[i]), number, measured) for i in order[:EXAMPLES]
        )
        return FilterReport(number, label, count, len(counted), examples)

    def _example(self, row: int, number: int, measured: nn.Module) -> FilterExample:
        image, output, spectrogram = self._forward(np.array([row]), measured, gradient=True)
        [gradient] = torch.autograd.grad(output[0, number].max(), image)
        field = self._field(gradient[0].abs(), spectrogram.shape[2])
        hop, padding = self._hop_and_padding()
        config = self._dataset.features
        rate_hz, samples = config.sample_rate_hz, config.clip_samples
        middle = (field.frames[0] + field.frames[1]) / 2 * hop - padding
        half = max((field.frames[1] - field.frames[0] + 1) * hop, _MIN_SECONDS * rate_hz) / 2
        start = int(min(max(0, middle - half), max(0, samples - 2 * half)))
        end = int(min(samples, start + 2 * half))
        clip = self._dataset.clips.iloc[row]
        waveform = self._dataset.waveforms(np.array([row]))[0, start:end]
        shown = slice((start + padding) // hop, (end + padding) // hop + 1)
        scale = 10 if self._extractor.kind == "encoder" else 1  # its front end gives dB / 10
        decibels = spectrogram[0].detach().numpy() * scale
        return FilterExample(
            filename=clip["filename"],
            label=clip["label"],
            start_seconds=start / rate_hz,
            end_seconds=end / rate_hz,
            image=_draw(decibels, shown, field),
            audio=wav_uri(np.asarray(waveform, np.float32), rate_hz),
        )

    def _field(self, strength: Tensor, frames: int) -> _Field:
        """The ranges that hold 90 % of a gradient (channels, ...)."""
        if strength.dim() == 2:  # bins are channels
            return _Field(_middle_range(strength.sum(dim=0)), None)
        # The speech encoder has its frames before its bins.
        time_axis = 1 if strength.shape[1] == frames and self._extractor.kind == "encoder" else 2
        other = 3 - time_axis
        bins = _middle_range(strength.sum(dim=(0, time_axis)))
        has_bins = self._extractor.kind != "mfcc"
        return _Field(_middle_range(strength.sum(dim=(0, other))), bins if has_bins else None)

    def _hop_and_padding(self) -> tuple[int, int]:
        """Samples between frames, and before the clip, of the network's front end."""
        config = self._dataset.features
        if self._extractor.kind == "encoder":
            return encoder_features(config).hop_length, padding_samples(config)
        return config.hop_length, 0


def _media_bytes(example: FilterExample) -> int:
    return len(example.image) + len(example.audio)


def _middle_range(strength: Tensor) -> tuple[int, int]:
    """First and last position between the quantiles of ``_FIELD`` of (positions,)."""
    shares = (strength.double().cumsum(0) / strength.double().sum().clamp_min(1e-30)).numpy()
    first, last = (int(np.searchsorted(shares, quantile)) for quantile in _FIELD)
    return first, min(max(first, last), len(shares) - 1)


def _draw(decibels: NDArray[np.float32], shown: slice, field: _Field) -> str:
    """A PNG of some frames of a log-mel (bins, frames), with a box around the field."""
    figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    top = float(decibels.max())
    axes.imshow(
        decibels[:, shown],
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - _RANGE_DB,
        vmax=top,
    )
    low, high = field.bins or (0, len(decibels) - 1)
    left = field.frames[0] - shown.start - 0.5
    width, height = field.frames[1] - field.frames[0] + 1, high - low + 1
    axes.add_patch(
        Rectangle((left, low - 0.5), width, height, fill=False, color="white", linewidth=2)
    )
    axes.set_axis_off()
    return figure_uri(figure)
