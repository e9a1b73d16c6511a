"""The false accepts of a model over its negatives: at its threshold, at some rates, as a curve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.labels.clip import ClipProblem
from earful.models.bundle.event_options import EventOptions
from earful.service.batch.inputs import Input
from earful.service.classifier import Classifier
from earful.training.evaluation.false_accepts import (
    TABLE_RATES_PER_HOUR,
    FalseAcceptError,
    FalseAcceptPoint,
    OperatingPoints,
    WantedRate,
)
from earful.training.evaluation.negatives import LabelledFiles, without_copies
from earful.training.evaluation.stream_negatives import (
    MAX_CLIP_SECONDS,
    PAUSE_SECONDS,
    StreamedNegatives,
    stream_negatives,
)
from earful.training.metrics.calibration import format_threshold

_MAX_LABELS = 5


@dataclass(frozen=True)
class FalseAcceptReport:
    """False accepts per hour and missed clips.

    hours, pause_hours   length of all negatives with the pauses between clips, and of the pauses
    recordings, clips    how many negatives are streams of their own, and how many are joined
    at_threshold         at the threshold of the model, or the one that was chosen for it
    rates                the lowest threshold of each rate
    curve                points by ascending threshold
    accepted_labels      false accepts by predicted label at the threshold
    chosen               the rate that was asked for; None if none was
    threshold_before     the model's threshold before one was chosen
    """

    hours: float
    pause_hours: float
    recordings: int
    clips: int
    at_threshold: FalseAcceptPoint
    rates: tuple[WantedRate, ...]
    curve: tuple[FalseAcceptPoint, ...]
    accepted_labels: dict[str, int]
    chosen: WantedRate | None
    threshold_before: float

    def to_dict(self) -> dict[str, Any]:
        """All results; the curve as arrays of equal length."""
        result = asdict(self)
        names = ("threshold", "false_accepts", "per_hour", "per_hour_upper95", "misses")
        result["curve"] = {name: [getattr(point, name) for point in self.curve] for name in names}
        return result

    def text(self) -> str:
        """What was measured, and a table; lines of at most 80 columns."""
        lines = [f"false accepts: {self.hours:.3g} hours of negatives"]
        longest, (low, high) = MAX_CLIP_SECONDS, PAUSE_SECONDS
        if self.recordings:
            lines.append(
                f"  {self.recordings} longer than {longest:g} s, each as a stream of its own"
            )
        if self.clips:
            lines += [
                f"  {self.clips} of at most {longest:g} s, one after another as one stream, with",
                f"  pauses of {low:g} to {high:g} s ({self.pause_hours:.3g} hours of pauses)",
            ]
        if self.chosen is not None:
            lines.append(
                f"  threshold {format_threshold(self.at_threshold.threshold)} for at most "
                f"{self.chosen.wanted_per_hour:g} an hour is now that of the model; it was "
                f"{format_threshold(self.threshold_before)}"
            )
        lines += [
            "  per hour, at most with 95 % certainty, and the share of labelled clips missed:",
            "  threshold  per hour  at most   missed",
        ]
        own = "chosen" if self.chosen else "of the model"
        lines.append(_row(self.at_threshold, own))
        lines += [self._rate_row(rate) for rate in self.rates]
        if self.accepted_labels:
            labels = list(self.accepted_labels.items())
            named = ", ".join(f"{count} x {label}" for label, count in labels[:_MAX_LABELS])
            more = ", ..." if len(labels) > _MAX_LABELS else ""
            lines.append(f"  accepted as: {named}{more}")
        return "\n".join(lines)

    def _rate_row(self, rate: WantedRate) -> str:
        name = f"for {rate.wanted_per_hour:g} an hour"
        if self.hours < rate.hours_needed:
            name += f" ({rate.hours_needed:.3g} h needed)"
        return f"  {'-':>9}  {name}: no threshold" if rate.point is None else _row(rate.point, name)


def _row(point: FalseAcceptPoint, name: str) -> str:
    return (
        f"  {format_threshold(point.threshold):>9}  {format_rate(point.per_hour):>8}  "
        f"{format_rate(point.per_hour_upper95):>7}  {100 * point.misses:>5.1f} %  {name}"
    )


def format_rate(per_hour: float) -> str:
    """A rate with three digits or more."""
    return f"{per_hour:.0f}" if per_hour >= 1000 else f"{per_hour:.3g}"


@dataclass(frozen=True)
class LabelledScores:
    """Scores (found,) of the labelled clips whose label is predicted, and the number of all."""

    found: NDArray[np.float32]
    n_clips: int


@dataclass(frozen=True)
class RejectionResult:
    """The threshold in force, and what the negatives show; without negatives only that.

    other_scores  best score (clips,) of each short negative, classified alone
    failed        negatives that cannot be read
    """

    threshold: float
    false_accepts: FalseAcceptReport | None = None
    other_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    failed: tuple[ClipProblem, ...] = ()
    notes: tuple[str, ...] = ()


def check_wanted_rate(wanted_per_hour: float, *, has_negatives: bool) -> None:
    """Refuse a rate that means nothing.

    Raises:
        FalseAcceptError: it is not above 0 and finite, or there are no negatives.
    """
    if not 0 < wanted_per_hour < math.inf:
        raise FalseAcceptError(
            f"false accepts per hour are a number above 0, such as 1; found {wanted_per_hour:g}"
        )
    if not has_negatives:
        raise FalseAcceptError(
            "false accepts are counted in recordings of other sound; give some as --negatives"
        )


def measure_rejection(
    classifier: Classifier,
    sources: Sequence[Input],
    labelled_files: LabelledFiles,
    labelled: LabelledScores,
    wanted_per_hour: float | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RejectionResult:
    """False accepts at the model's threshold, or at the one that gives ``wanted_per_hour``.

    Raises:
        FalseAcceptError: negatives cannot be used, or no threshold gives ``wanted_per_hour``.
    """
    threshold = classifier.metadata.rejection_threshold
    if not sources:
        return RejectionResult(threshold)
    sources, notes = without_copies(sources, labelled_files)
    streamed = stream_negatives(classifier, sources, progress=progress)
    points = OperatingPoints(
        recordings=streamed.sounds,
        hours=streamed.seconds / 3600,
        found_scores=labelled.found,
        n_labelled=labelled.n_clips,
        min_gap_seconds=EventOptions.min_gap_seconds,
    )
    chosen = None if wanted_per_hour is None else _choose(points, wanted_per_hour)
    report = _report(points, streamed, classifier, chosen)
    if chosen is not None and points.hours < chosen.hours_needed:
        notes.append(
            f"note: {points.hours:.3g} hours are too few to be certain of {wanted_per_hour:g} an "
            f"hour: that takes {chosen.hours_needed:.3g} hours even if none of them holds a false "
            "accept"
        )
    return RejectionResult(
        threshold=report.at_threshold.threshold,
        false_accepts=report,
        other_scores=streamed.clip_scores,
        failed=streamed.failed,
        notes=tuple(notes),
    )


def _report(
    points: OperatingPoints,
    streamed: StreamedNegatives,
    classifier: Classifier,
    chosen: WantedRate | None,
) -> FalseAcceptReport:
    threshold = classifier.metadata.rejection_threshold
    at_threshold = (chosen and chosen.point) or points.at(threshold)
    return FalseAcceptReport(
        hours=points.hours,
        pause_hours=streamed.pause_seconds / 3600,
        recordings=streamed.n_recordings,
        clips=len(streamed.clip_scores),
        at_threshold=at_threshold,
        rates=tuple(points.at_rate(rate) for rate in TABLE_RATES_PER_HOUR),
        curve=tuple(points.curve(threshold, at_threshold.threshold)),
        accepted_labels=points.labels_accepted(at_threshold.threshold, classifier.labels),
        chosen=chosen,
        threshold_before=threshold,
    )


def _choose(points: OperatingPoints, wanted_per_hour: float) -> WantedRate:
    chosen = points.at_rate(wanted_per_hour)
    if chosen.point is None:
        raise FalseAcceptError(_unreachable(points, wanted_per_hour))
    return chosen


def _unreachable(points: OperatingPoints, wanted_per_hour: float) -> str:
    lowest = points.lowest_rate()
    if lowest is None:
        return "no labelled clip is predicted as its label, so there is no threshold to choose"
    return (
        f"no threshold gives at most {wanted_per_hour:g} false accepts an hour and still finds a "
        f"labelled clip: the lowest rate is {lowest.per_hour:.3g} an hour, at threshold "
        f"{format_threshold(lowest.threshold)}, where {100 * lowest.misses:.1f} % of the labelled "
        "clips are missed; train with negatives like these (`earful train --negatives`), or allow "
        "more"
    )
