"""Clips for the report with pictures of where the network listened, correct and incorrect ones."""

from dataclasses import dataclass

import numpy as np

from earful.data.dataset.dataset import Dataset
from earful.training.plots.chart import png_uri
from earful.training.reports.clip_media import clip_waveform
from earful.training.reports.html_clips import audio_uri, draw_spectrogram
from earful.training.reports.run_report.activation_maps import (
    ActivationMapper,
    LabelMap,
    MapMethod,
)
from earful.training.reports.run_report.predictions import SplitPredictions

MAX_CLIPS = 12  # of the correct ones, and of the incorrect ones
_WIDTH, _HEIGHT = 320, 128
# Over the parts of the spectrogram where the network did not listen.
_SHADE = 0.82


@dataclass(frozen=True)
class MapPicture:
    """The map of one label; ``is_true`` is whether it is the clip's."""

    label: str
    is_true: bool
    image: str


@dataclass(frozen=True)
class MappedClip:
    """A clip with maps of its predicted label, and of its true one if that is another."""

    filename: str
    label: str
    predicted: str
    score: float
    audio: str
    pictures: tuple[MapPicture, ...]

    @property
    def media_bytes(self) -> int:
        return len(self.audio) + sum(len(picture.image) for picture in self.pictures)


@dataclass(frozen=True)
class MappedClips:
    """The section "Where the model listened"."""

    method: MapMethod
    incorrect: tuple[MappedClip, ...]
    correct: tuple[MappedClip, ...]

    @property
    def media_bytes(self) -> int:
        return sum(clip.media_bytes for clip in (*self.incorrect, *self.correct))


def map_clips(
    mapper: ActivationMapper,
    predictions: SplitPredictions,
    dataset: Dataset,
    clips: int,
    max_media_bytes: int,
) -> MappedClips | None:
    """The most confident errors and the surest clip of each label, up to ``max_media_bytes``.

    None for a network without maps.
    """
    if mapper.method is None:
        return None
    bytes_left = max_media_bytes

    def draw(indices: list[int]) -> tuple[MappedClip, ...]:
        nonlocal bytes_left
        drawn = []
        for i in indices[: min(clips, MAX_CLIPS)]:
            clip = _map_clip(mapper, predictions, dataset, i)
            bytes_left -= clip.media_bytes
            if bytes_left < 0:
                break
            drawn.append(clip)
        return tuple(drawn)

    order = np.argsort(-predictions.confidence, kind="stable").tolist()
    incorrect = [i for i in order if not predictions.correct[i]]
    return MappedClips(mapper.method, draw(incorrect), draw(_surest_by_label(predictions, order)))


def _surest_by_label(predictions: SplitPredictions, order: list[int]) -> list[int]:
    """Correct clips: the surest one of each label, then the second one of each, and so on."""
    seen: dict[bytes, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for i in order:
        if predictions.correct[i]:
            label = predictions.expected[i].tobytes()
            seen[label] = seen.get(label, 0) + 1
            ranked.append((seen[label], len(ranked), i))
    return [i for *_, i in sorted(ranked)]


def _map_clip(
    mapper: ActivationMapper, predictions: SplitPredictions, dataset: Dataset, i: int
) -> MappedClip:
    row = int(predictions.rows[i])
    scores = np.where(predictions.predicted[i], predictions.scores[i], -1)
    labels = [int(scores.argmax())]  # the surest one of several
    missed = np.flatnonzero(predictions.expected[i] & ~predictions.predicted[i])
    labels += missed[:1].tolist()
    clip, rate_hz = dataset.clips.iloc[row], dataset.features.sample_rate_hz
    return MappedClip(
        filename=clip["filename"],
        label=clip["label"],
        predicted=predictions.predicted_label(i, dataset.labels),
        score=float(predictions.confidence[i]),
        audio=audio_uri(clip_waveform(dataset.array("waveforms"), dataset, row), rate_hz),
        pictures=tuple(
            MapPicture(
                dataset.labels[n],
                bool(predictions.expected[i, n]),
                draw_map(mapper.label_map(row, n)),
            )
            for n in labels
        ),
    )


def draw_map(label_map: LabelMap) -> str:
    """A PNG: the spectrogram, shaded where the network did not listen, and the curve over time."""
    decibels, whole = label_map.spectrogram, (0, 1, 0, 1)
    figure, axes = draw_spectrogram(decibels, _WIDTH, _HEIGHT, float(decibels.max()))
    axes.images[0].set_extent(whole)
    positive = np.maximum(label_map.values, 0)
    # One bin at one frame may stand out: what is in the highest twentieth is as bright.
    brightest = max(float(np.quantile(positive, 0.95)), 1e-9)
    shade = np.zeros((*positive.shape, 4))
    shade[..., 3] = _SHADE * (1 - np.minimum(positive / brightest, 1))
    axes.imshow(shade, origin="lower", aspect="auto", extent=whole, interpolation="bilinear")
    curve = np.maximum(label_map.values.sum(axis=0), 0)
    times = (np.arange(len(curve)) + 0.5) / len(curve)
    axes.plot(times, 0.02 + 0.9 * curve / max(curve.max(), 1e-9), color="white", linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return png_uri(figure)
