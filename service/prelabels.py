"""A prediction as Label Studio takes it: choices of a recording, labels of its regions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from data.annotations.annotation import TIME_DIGITS
from data.annotations.label_studio import choice_result, region_result
from service.classifier import UNKNOWN, Prediction
from service.label_config import Control
from service.observe import new_id
from service.running import SCORE_DIGITS


@dataclass(frozen=True)
class Region:
    """A stretch in which a label was heard, in seconds, with the best score of its windows."""

    label: str
    start_seconds: float
    end_seconds: float
    score: float


def results_of(
    control: Control, prediction: Prediction, least_score: float
) -> Iterator[dict[str, Any]]:
    """What a control gets of what it offers: one choice, or a label for each region."""
    if control.kind == "choices":
        value = control.value_of(prediction.label)
        if value is not None:
            result = choice_result(new_id(), control.name, control.audio, value)
            yield result | {"score": round(prediction.score, SCORE_DIGITS)}
        return
    for region in regions(prediction, least_score):
        value = control.value_of(region.label)
        if value is None:
            continue
        times = (round(t, TIME_DIGITS) for t in (region.start_seconds, region.end_seconds))
        result = region_result(new_id(), control.name, control.audio, value, *times)
        length = round(prediction.seconds, TIME_DIGITS)
        yield result | {"score": round(region.score, SCORE_DIGITS), "original_length": length}


def regions(prediction: Prediction, least_score: float) -> list[Region]:
    """Windows that score high enough, those of one label that touch one another put together."""
    found: list[Region] = []
    for window in prediction.windows:
        if window.score < least_score or window.label == UNKNOWN:
            continue
        region = Region(window.label, window.start_seconds, window.end_seconds, window.score)
        last = found[-1] if found else None
        touching = last is not None and region.start_seconds <= last.end_seconds
        if last is not None and touching and last.label == region.label:
            score = max(last.score, region.score)
            found[-1] = replace(last, end_seconds=region.end_seconds, score=score)
        else:
            found.append(region)
    return found
