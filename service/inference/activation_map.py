"""Where a model listened: the part of a clip that spoke for a label.

The class activation map of models whose file holds an exact one (``models.bundle.map_session``).
For all others by occlusion ("Visualizing and Understanding Convolutional Networks", Zeiler and
Fergus, arXiv:1311.2901, section 4.2): a part of the clip is silenced, and how far the score falls
says how much it mattered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.windows import pad_to_clips
from earful.data.features.config import mel_bin_hz
from earful.service.classifier import MAX_BATCH, Classifier

MapMethod = Literal["activation", "occlusion"]
# Columns and rows of a map with exact positions, resampled for drawing.
COLUMNS, ROWS = 64, 16
# Silenced stretches: one in so many parts of the recording, at so many places.
OCCLUDED_FRACTION, OCCLUDED_PLACES = 0.1, MAX_BATCH - 1
# Each fades out and in over this time, since an abrupt end is a click.
_FADE_SECONDS = 0.005
# Scores are compared as log-odds, where 0.999 and 0.9999 differ; these bounds keep them finite.
_MIN_SCORE = 1e-6


@dataclass(frozen=True)
class ActivationMap:
    """Where the model listened for ``label`` from ``start_seconds`` to ``end_seconds``.

    ``values`` (rows, columns) are equal parts of that time, from the lowest frequency up: what each
    part added to the label's logit (activation), or what silencing it takes from its log-odds
    (occlusion). ``row_edges_hz`` (rows + 1,) bounds the rows; empty for one row of all frequencies.
    """

    label: str
    score: float
    method: MapMethod
    start_seconds: float
    end_seconds: float
    values: NDArray[np.float32]
    row_edges_hz: tuple[float, ...]


def locate_label(
    classifier: Classifier, waveform: Waveform, label: str | None = None
) -> ActivationMap:
    """Where the model listened in a recording (samples,), or in its loudest clip.

    ``label`` is that with the highest score if it is None.
    """
    size, rate_hz = classifier.clip_samples, classifier.sample_rate_hz
    _, start = classifier.best_cut(waveform)
    recorded = waveform[start : start + size]
    scores = classifier.predict_windows([(recorded, 0)])[0]
    index = int(scores.argmax()) if label is None else classifier.labels.index(label)
    exact = _exact_map(classifier, recorded, index)
    values, edges = exact or (_occlude(classifier, recorded, index), np.zeros(0))
    return ActivationMap(
        label=classifier.labels[index],
        score=float(scores[index]),
        method="activation" if exact else "occlusion",
        start_seconds=start / rate_hz,
        end_seconds=(start + len(recorded)) / rate_hz,
        values=values,
        row_edges_hz=tuple(edges.tolist()),
    )


def _exact_map(
    classifier: Classifier, recorded: Waveform, index: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """The map (rows, columns) of one label over the recorded part of a clip, and edges in hertz."""
    size, config = classifier.clip_samples, classifier.metadata.features
    info = classifier.metadata.activation_map
    maps = classifier.activation_maps(pad_to_clips([recorded], size))
    if info is None or maps is None:
        return None
    values = maps[0, index]
    padding = (size - len(recorded)) // 2
    columns = padding + (np.arange(COLUMNS) + 0.5) / COLUMNS * len(recorded)
    values = info.seconds.resample(values, columns / classifier.sample_rate_hz)
    if info.bins is None or len(values) == 1:
        return values.mean(axis=0, keepdims=True), np.zeros(0)
    edges = np.linspace(-0.5, config.n_mels - 0.5, ROWS + 1)
    rows = info.bins.resample(values.T, (edges[1:] + edges[:-1]) / 2).T
    return rows, mel_bin_hz(config, edges)


def _occlude(classifier: Classifier, recorded: Waveform, index: int) -> NDArray[np.float32]:
    """How far the log-odds of a label fall without each of ``COLUMNS`` parts: (1, columns).

    Stretches overlap; a part gets the mean over the stretches that cover its middle.
    """
    width = OCCLUDED_FRACTION
    starts = np.linspace(-width / 2, 1 - width / 2, OCCLUDED_PLACES)
    fade = _FADE_SECONDS * classifier.sample_rate_hz / len(recorded)
    masks = [_silence(len(recorded), start, start + width, fade) for start in starts]
    clips = pad_to_clips([recorded, *(recorded * mask for mask in masks)], classifier.clip_samples)
    scores = np.clip(classifier.run(clips)[:, index].astype(float), _MIN_SCORE, 1 - _MIN_SCORE)
    log_odds = np.log(scores) - np.log1p(-scores)
    falls = log_odds[0] - log_odds[1:]
    middles = (np.arange(COLUMNS) + 0.5) / COLUMNS
    covers = (starts[:, None] <= middles) & (middles <= starts[:, None] + width)
    return np.asarray((falls @ covers / covers.sum(axis=0))[None], np.float32)


def _silence(samples: int, start: float, end: float, fade: float) -> NDArray[np.float32]:
    """Factors (samples,) that are 0 from ``start`` to ``end``, in fractions, with ramps outside."""
    at = (np.arange(samples) + 0.5) / samples
    distance = np.maximum(start - at, at - end)
    return np.clip(distance / max(fade, 1e-9), 0, 1).astype(np.float32)


def to_rows(values: NDArray[np.float32], digits: int = 4) -> Sequence[Sequence[float]]:
    """Values (rows, columns) for JSON."""
    rows: list[list[float]] = np.round(values.astype(float), digits).tolist()
    return rows
