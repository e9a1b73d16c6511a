"""Which events of a recording are wanted: lowest scores, and labels that mean background."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.errors import UsageError
from earful.models.bundle.decision import DECISION_THRESHOLD, names_rejection
from earful.models.bundle.metadata import ModelMetadata

# Labels that mean that nothing was heard, compared without case.
BACKGROUND_LABELS = ("silence", "noise", "background", "_background_noise_")


@dataclass(frozen=True)
class EventOptions:
    """Which events are wanted; the defaults suit any model.

    min_score         lowest score of an event; None: the model's rejection threshold
    label_min_scores  the same for single labels
    background        labels that are no event, compared without case
    min_gap_seconds   shortest distance between the starts of two single sounds
    n_windows         windows of a single sound, over which its scores are averaged
    """

    min_score: float | None = None
    label_min_scores: Mapping[str, float] = field(default_factory=dict)
    background: Collection[str] = BACKGROUND_LABELS
    min_gap_seconds: float = 0.0
    n_windows: int = 3


def is_background(label: str, background: Collection[str] = BACKGROUND_LABELS) -> bool:
    """Whether sounds of a label are no events: background, or what a model has rejected."""
    return names_rejection(label) or label.casefold() in {name.casefold() for name in background}


def default_min_score(metadata: ModelMetadata) -> float:
    """The lowest score of an event: the model's rejection threshold.

    A multi-label model predicts labels that are likelier than not, so also at least that.
    """
    if metadata.score_kind == "sigmoid":
        return max(DECISION_THRESHOLD, metadata.rejection_threshold)
    return metadata.rejection_threshold


def check_labels(options: EventOptions, labels: Sequence[str]) -> None:
    """Refuse options for what is no label of the model; the usual background need not be one.

    Raises:
        UsageError: names the first such option.
    """
    if isinstance(options.background, str):
        raise UsageError("background is a list of labels, found one text")
    known = {label.casefold() for label in labels}
    named = [name for name in options.background if name]  # an empty one stands for none
    unknown = [f"background {name}" for name in named if name.casefold() not in known]
    if options.background == BACKGROUND_LABELS:
        unknown = []
    scores = options.label_min_scores.items()
    unknown += [f"min-score {label}={score:g}" for label, score in scores if label not in labels]
    if unknown:
        raise UsageError(f"{unknown[0]} names no label of the model, which has {', '.join(labels)}")


def min_scores(options: EventOptions, metadata: ModelMetadata) -> NDArray[np.float32]:
    """The lowest score (labels,) of an event of each label; more than 1 for those without events.

    Raises:
        UsageError: an option is for a label that the model does not have.
    """
    check_labels(options, metadata.labels)
    lowest = options.min_score
    if lowest is None:
        lowest = default_min_score(metadata)
    return np.array(
        [
            np.inf
            if is_background(label, options.background)
            else options.label_min_scores.get(label, lowest)
            for label in metadata.labels
        ],
        np.float32,
    )
