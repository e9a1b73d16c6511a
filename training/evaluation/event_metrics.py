"""Recall, precision and F1 of sound events in recordings, by one-to-one matching.

Event-based measures as DCASE and ``sed_eval`` define them: Mesaros, Heittola and Virtanen 2016,
"Metrics for polyphonic sound event detection", Applied Sciences 6(6), 162.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earful.data.labels.multilabel import distinct_labels, split_labels

COLLAR_SECONDS = 0.2
# The end of a long event is found less exactly: this share of its length is allowed too.
LENGTH_SHARE = 0.2

Times = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class SoundEvent:
    """A sound in a recording: its start and end in seconds, and its label."""

    start_seconds: float
    end_seconds: float
    label: str


# Which found events, starts and ends (found, 2), may match one true event (start, end): (found,).
Criterion = Callable[[Times, Times], NDArray[np.bool_]]


def within_collar(collar_seconds: float = COLLAR_SECONDS) -> Criterion:
    """Starts at most the collar apart; ends too, or at most a fifth of the true length."""

    def allowed(true: Times, found: Times) -> NDArray[np.bool_]:
        start_errors, end_errors = np.abs(true - found).T
        end_collar = max(collar_seconds, LENGTH_SHARE * (true[1] - true[0]))
        close: NDArray[np.bool_] = (start_errors <= collar_seconds) & (end_errors <= end_collar)
        return close

    return allowed


def middle_within(true: Times, found: Times) -> NDArray[np.bool_]:
    """The middle of the found event lies within the true one, wherever its borders are."""
    middles = found.mean(axis=1)
    within: NDArray[np.bool_] = (true[0] <= middles) & (middles <= true[1])
    return within


def match_events(
    true: Sequence[SoundEvent], found: Sequence[SoundEvent], criterion: Criterion
) -> list[tuple[int, int]]:
    """Pairs (true, found) of one recording that match, each event at most once.

    Events match if their labels are equal and the criterion allows it. As many as possible are
    matched, and of all such matchings the one with the least sum of errors of starts and ends.
    """
    pairs: list[tuple[int, int]] = []
    for label in {event.label for event in true} & {event.label for event in found}:
        of_true, of_found = (
            [i for i, event in enumerate(events) if event.label == label]
            for events in (true, found)
        )
        matched = _match_times(
            _times([true[i] for i in of_true]), _times([found[j] for j in of_found]), criterion
        )
        pairs += [(of_true[i], of_found[j]) for i, j in matched]
    return sorted(pairs)


@dataclass
class EventCounts:
    """Events of one label, or of all: how many are true, found and matched, and border errors."""

    true: int = 0
    found: int = 0
    start_errors_seconds: list[float] = field(default_factory=list)
    end_errors_seconds: list[float] = field(default_factory=list)

    @property
    def matched(self) -> int:
        return len(self.start_errors_seconds)

    @property
    def false_alarms(self) -> int:
        return self.found - self.matched

    @property
    def recall(self) -> float | None:
        """None if there is nothing to find."""
        return self.matched / self.true if self.true else None

    @property
    def precision(self) -> float | None:
        """None if nothing was found."""
        return self.matched / self.found if self.found else None

    @property
    def f1(self) -> float | None:
        """None if there is nothing to find and nothing was found."""
        total = self.true + self.found
        return 2 * self.matched / total if total else None

    @property
    def start_error_seconds(self) -> float | None:
        """The median error of the starts of matched events; None without any."""
        return _median(self.start_errors_seconds)

    @property
    def end_error_seconds(self) -> float | None:
        return _median(self.end_errors_seconds)

    def add(self, other: "EventCounts") -> None:
        self.true += other.true
        self.found += other.found
        self.start_errors_seconds += other.start_errors_seconds
        self.end_errors_seconds += other.end_errors_seconds

    def to_dict(self, hours: float) -> dict[str, Any]:
        """All figures; ``hours`` is the length of the recordings."""
        return {
            "true": self.true,
            "found": self.found,
            "matched": self.matched,
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
            "median_start_error_seconds": self.start_error_seconds,
            "median_end_error_seconds": self.end_error_seconds,
            "false_alarms": self.false_alarms,
            "false_alarms_per_hour": self.false_alarms / hours,
        }


def count_events(
    true: Sequence[SoundEvent], found: Sequence[SoundEvent], criterion: Criterion
) -> dict[str, EventCounts]:
    """The counts of one recording for each label that occurs, in natural order of the labels.

    An event with several labels, ``dog|rain``, is one event of each of them.
    """
    true, found = _one_label_each(true), _one_label_each(found)
    labels = distinct_labels(event.label for event in (*true, *found))
    counts = {label: EventCounts() for label in labels}
    for event in true:
        counts[event.label].true += 1
    for event in found:
        counts[event.label].found += 1
    for i, j in match_events(true, found, criterion):
        of_label = counts[true[i].label]
        start_error = abs(true[i].start_seconds - found[j].start_seconds)
        of_label.start_errors_seconds.append(start_error)
        of_label.end_errors_seconds.append(abs(true[i].end_seconds - found[j].end_seconds))
    return counts


def total_counts(per_label: Mapping[str, EventCounts]) -> EventCounts:
    """The counts of all labels together."""
    total = EventCounts()
    for counts in per_label.values():
        total.add(counts)
    return total


def _one_label_each(events: Sequence[SoundEvent]) -> list[SoundEvent]:
    return [
        SoundEvent(event.start_seconds, event.end_seconds, label)
        for event in events
        for label in split_labels(event.label)
    ]


def _times(events: Sequence[SoundEvent]) -> Times:
    return np.array([(event.start_seconds, event.end_seconds) for event in events], np.float64)


def _match_times(true: Times, found: Times, criterion: Criterion) -> list[tuple[int, int]]:
    """The best matching of events of one label, times (true, 2) and (found, 2)."""
    # Row by row: all pairs of an hour of events at once would need gigabytes.
    allowed = [np.flatnonzero(criterion(times, found)) for times in true]
    rows = np.repeat(np.arange(len(true)), [len(columns) for columns in allowed])
    columns = np.concatenate(allowed)
    n_true, n_events = len(true), len(true) + len(found)
    graph = coo_array(
        (np.ones(len(rows), np.int8), (rows, n_true + columns)), shape=(n_events, n_events)
    )
    # Events that could be taken for each other are close in time: many small assignments.
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[rows], kind="stable")
    borders = np.flatnonzero(np.diff(group[rows][order])) + 1
    return [
        pair
        for edges in np.split(order, borders)
        if len(edges)
        for pair in _assign(rows[edges], columns[edges], true, found)
    ]


def _assign(
    rows: Positions, columns: Positions, true: Times, found: Times
) -> list[tuple[int, int]]:
    """Match as many of the pairs (rows, columns) as possible, of these with the least error."""
    true_ids, i = np.unique(rows, return_inverse=True)
    found_ids, j = np.unique(columns, return_inverse=True)
    errors = np.abs(true[rows] - found[columns]).sum(axis=1)
    cost = np.zeros((len(true_ids), len(found_ids)))
    # One more match outweighs all errors; a pair that is not allowed costs nothing, as no match.
    cost[i, j] = errors - (1 + errors.sum())
    matched = zip(*linear_sum_assignment(cost), strict=True)
    return [(int(true_ids[a]), int(found_ids[b])) for a, b in matched if cost[a, b] < 0]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
