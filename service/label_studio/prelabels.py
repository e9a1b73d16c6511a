"""Converts a prediction to Label Studio results: choices of a recording, labels of regions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from earful.data.annotations.annotation import TIME_DIGITS
from earful.data.annotations.label_studio import choice_result, region_result
from earful.models.bundle.decision import UNKNOWN_LABEL
from earful.service.classifier import Classifier, Prediction, Window
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.request_log import new_request_id
from earful.service.label_studio.label_config import Control


@dataclass(frozen=True)
class Region:
    """A time range with one label and the best score of its windows."""

    label: str
    start_seconds: float
    end_seconds: float
    score: float


def control_results(
    control: Control, prediction: Prediction, classifier: Classifier, min_score: float
) -> Iterator[dict[str, Any]]:
    """The results for a control: its choices, or a label for each region."""
    if control.kind == "choices":
        yield from _choices(control, prediction, classifier)
        return
    for region in regions(prediction, classifier, min_score):
        value = control.value_for(region.label)
        if value is None:
            continue
        times = (round(t, TIME_DIGITS) for t in (region.start_seconds, region.end_seconds))
        result = region_result(new_request_id(), control.name, control.audio, [value], *times)
        length = round(prediction.seconds, TIME_DIGITS)
        yield result | {"score": round(region.score, SCORE_DIGITS), "original_length": length}


def _choices(
    control: Control, prediction: Prediction, classifier: Classifier
) -> Iterator[dict[str, Any]]:
    """One result with the predicted labels that the control offers; only the best if single."""
    scored_labels = _window_labels(prediction.best, classifier)
    offered = [
        (value, score)
        for label, score in scored_labels
        if (value := control.value_for(label)) is not None
    ]
    if not offered:
        return
    if not control.allows_multiple:
        offered = [max(offered, key=lambda pair: pair[1])]
    result = choice_result(
        new_request_id(), control.name, control.audio, [value for value, _ in offered]
    )
    yield result | {"score": round(min(score for _, score in offered), SCORE_DIGITS)}


def _window_labels(window: Window, classifier: Classifier) -> list[tuple[str, float]]:
    """The predicted labels of a window with their scores; one unless the model is multi-label."""
    if window.label == UNKNOWN_LABEL or not classifier.is_multi_label:
        return [(window.label, window.score)]
    return classifier.predicted_labels(window.scores)


def regions(prediction: Prediction, classifier: Classifier, min_score: float) -> list[Region]:
    """Merge windows with scores of at least ``min_score`` into regions, one label each.

    A region continues while the next window overlaps or touches it and has its label.
    """
    merged: list[Region] = []
    open_regions: dict[str, int] = {}  # label -> index of its region in the previous window
    for window in prediction.windows:
        if window.label == UNKNOWN_LABEL:
            continue
        scored_labels = [
            (label, score)
            for label, score in _window_labels(window, classifier)
            if score >= min_score
        ]
        previous_regions, open_regions = open_regions, {} if scored_labels else open_regions
        for label, score in scored_labels:
            index = previous_regions.get(label)
            if index is not None and window.start_seconds <= merged[index].end_seconds:
                region = merged[index]
                best_score = max(region.score, score)
                merged[index] = replace(region, end_seconds=window.end_seconds, score=best_score)
            else:
                index = len(merged)
                merged.append(Region(label, window.start_seconds, window.end_seconds, score))
            open_regions[label] = index
    return merged
