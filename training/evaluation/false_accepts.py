"""False accepts per hour against misses, over the thresholds of a model.

The measure of keyword spotting: other sound runs through the event detector as a stream does, and
every event is a false accept. A false accept costs more the more often it happens in a day, so the
rate is per hour, not per clip.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from earful.data.errors import EarfulError

# Rates of the table: from an appliance that waits for its name to a demonstration.
TABLE_RATES_PER_HOUR = (0.5, 1.0, 5.0, 20.0)
CONFIDENCE = 0.95
# Without any false accept, 95 % certainty of N an hour takes 3 / N hours (-log(0.05) = 3.0).
RULE_OF_THREE = 3.0
# Thresholds of the curve: this many quantiles of all scores, and those of the rarest false accepts.
_QUANTILES, _RAREST = 201, 50


class FalseAcceptError(EarfulError):
    """Negatives that cannot be used, or a rate of false accepts that no threshold reaches."""


@dataclass(frozen=True)
class SoundScores:
    """The sounds of one recording in order of time, before a threshold makes some of them events.

    ``starts_seconds``, ``scores`` (the best score) and ``labels`` (its position) are (sounds,).
    """

    starts_seconds: NDArray[np.float64]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def events(self, threshold: float, min_gap_seconds: float) -> list[int]:
        """Positions of the events at a threshold, by the rules of ``service.events``."""
        kept: list[int] = []
        earliest_start = -math.inf
        for position in np.flatnonzero(self.scores >= threshold).tolist():
            start = float(self.starts_seconds[position])
            if start >= earliest_start:
                kept.append(position)
                earliest_start = start + min_gap_seconds
        return kept


@dataclass(frozen=True)
class FalseAcceptPoint:
    """One threshold: its false accepts, and the share of labelled clips that are missed.

    ``per_hour_upper95`` is the rate that is not exceeded with 95 % certainty.
    """

    threshold: float
    false_accepts: int
    per_hour: float
    per_hour_upper95: float
    misses: float


@dataclass(frozen=True)
class WantedRate:
    """The lowest threshold with at most ``wanted_per_hour``; None if no threshold reaches it.

    ``hours_needed`` are needed to be 95 % certain of the rate, if no false accept occurs at all.
    """

    wanted_per_hour: float
    hours_needed: float
    point: FalseAcceptPoint | None


@dataclass(frozen=True)
class OperatingPoints:
    """Measures any threshold of a model.

    recordings       sounds of the negatives, by recording
    hours            length of all negatives
    found_scores     scores (found,) of the labelled clips whose label is predicted
    n_labelled       number of labelled clips
    min_gap_seconds  shortest distance between two events
    """

    recordings: tuple[SoundScores, ...]
    hours: float
    found_scores: NDArray[np.float32]
    n_labelled: int
    min_gap_seconds: float

    @cached_property
    def _scores(self) -> NDArray[np.float32]:
        """All scores of the negatives (sounds,), ascending and distinct."""
        scores = [sounds.scores for sounds in self.recordings]
        return np.unique(np.concatenate([*scores, np.zeros(0, np.float32)]))

    def false_accepts(self, threshold: float) -> int:
        gap = self.min_gap_seconds
        return sum(len(sounds.events(threshold, gap)) for sounds in self.recordings)

    def at(self, threshold: float) -> FalseAcceptPoint:
        count = self.false_accepts(threshold)
        found = int(np.count_nonzero(self.found_scores >= threshold))
        return FalseAcceptPoint(
            threshold=threshold,
            false_accepts=count,
            per_hour=count / self.hours,
            per_hour_upper95=upper_bound(count) / self.hours,
            misses=1 - found / self.n_labelled,
        )

    def at_rate(self, wanted_per_hour: float) -> WantedRate:
        """The lowest threshold whose rate is at most ``wanted_per_hour``.

        A threshold that misses every labelled clip does not count.
        """
        # Fewer sounds reach a higher threshold, and the most events that keep their distance can
        # be made of them: the rate never rises with the threshold.
        thresholds = [0.0, *(_just_above(score) for score in self._scores)]
        low, high = 0, len(thresholds) - 1  # the last one leaves nothing
        while low < high:
            middle = (low + high) // 2
            if self.false_accepts(thresholds[middle]) / self.hours <= wanted_per_hour:
                high = middle
            else:
                low = middle + 1
        point = self.at(thresholds[low])
        usable = point.threshold <= 1 and point.misses < 1
        return WantedRate(wanted_per_hour, hours_needed(wanted_per_hour), point if usable else None)

    def lowest_rate(self) -> FalseAcceptPoint | None:
        """The highest threshold that a labelled clip reaches; None if none is found at all."""
        if not len(self.found_scores):
            return None
        return self.at(float(self.found_scores.max()))

    def curve(self, *thresholds: float) -> list[FalseAcceptPoint]:
        """Points from threshold 0 to the highest score, through ``thresholds``."""
        scores = np.sort(np.concatenate([self._scores, self.found_scores]))
        positions = np.linspace(0, len(scores) - 1, min(_QUANTILES, len(scores)))
        chosen = {0.0, *thresholds, *scores[positions.astype(np.int64)].tolist()}
        chosen |= {_just_above(score) for score in self._scores[-_RAREST:]}
        return [self.at(threshold) for threshold in sorted(chosen) if threshold <= 1]

    def labels_accepted(self, threshold: float, labels: Sequence[str]) -> dict[str, int]:
        """False accepts by predicted label, the most frequent first."""
        counts: Counter[str] = Counter()
        for sounds in self.recordings:
            events = sounds.events(threshold, self.min_gap_seconds)
            counts.update(labels[position] for position in sounds.labels[events].tolist())
        return dict(counts.most_common())


def upper_bound(count: int) -> float:
    """The expected count that is not exceeded with 95 % certainty when ``count`` were seen.

    The exact bound of a Poisson count (Garwood 1936, Biometrika 28, 437-442).
    """
    return float(chi2.ppf(CONFIDENCE, 2 * (count + 1)) / 2)


def hours_needed(wanted_per_hour: float) -> float:
    """Hours without a false accept that make ``wanted_per_hour`` 95 % certain."""
    return RULE_OF_THREE / wanted_per_hour


def _just_above(score: np.float32) -> float:
    """The lowest threshold that ``score`` does not reach: scores are compared as float32."""
    return float(np.nextafter(np.float32(score), np.float32(2)))
