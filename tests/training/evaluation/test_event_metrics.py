"""Event-based measures: equal to sed_eval, one-to-one, and sensible where there is nothing."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earful.training.evaluation.event_metrics import (
    EventCounts,
    SoundEvent,
    count_events,
    match_events,
    middle_within,
    total_counts,
    within_collar,
)

# What sed_eval measures on random event lists; the script of this name made it.
REFERENCE = Path(__file__).parents[2] / "fixtures" / "sed_eval_reference.json"
CASES = json.loads(REFERENCE.read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"collar {case['collar_seconds']} s")
def test_measures_are_those_of_sed_eval(case: dict[str, Any]) -> None:
    criterion = within_collar(case["collar_seconds"])
    per_label = {label: EventCounts() for label in case["per_label"]}
    for pair in case["recordings"]:
        true, found = ([SoundEvent(*row) for row in rows] for rows in pair)
        for label, counts in count_events(true, found, criterion).items():
            per_label[label].add(counts)
    for label, counts in per_label.items():
        assert figures(counts) == pytest.approx(case["per_label"][label])
        assert 0 < counts.matched < counts.found
    assert figures(total_counts(per_label)) == pytest.approx(case["overall"])


def figures(counts: EventCounts) -> dict[str, float | None]:
    return {"recall": counts.recall, "precision": counts.precision, "f_measure": counts.f1}


def test_as_many_as_possible_are_matched_with_the_least_error() -> None:
    """Compared with every matching of a few events."""
    generator = np.random.default_rng(5)
    criterion = within_collar(0.5)
    for _ in range(50):
        true, found = (
            [SoundEvent(s, s + 0.5, "a") for s in generator.uniform(0, 2, 4).tolist()]
            for _ in range(2)
        )
        allowed = {
            (i, j)
            for i, j in itertools.product(range(4), repeat=2)
            if abs(true[i].start_seconds - found[j].start_seconds) <= 0.5
        }
        matchings = [
            [(i, j) for i, j in enumerate(order) if (i, j) in allowed]
            for order in itertools.permutations(range(4))
        ]
        most = max(map(len, matchings))
        least = min(start_error(true, found, pairs) for pairs in matchings if len(pairs) == most)
        pairs = match_events(true, found, criterion)
        assert len(pairs) == most
        assert start_error(true, found, pairs) == pytest.approx(least)


def start_error(
    true: Sequence[SoundEvent], found: Sequence[SoundEvent], pairs: Sequence[tuple[int, int]]
) -> float:
    return sum(abs(true[i].start_seconds - found[j].start_seconds) for i, j in pairs)


def test_two_events_within_the_collar_of_one_count_once() -> None:
    true = [SoundEvent(1.0, 1.5, "a")]
    found = [SoundEvent(0.9, 1.5, "a"), SoundEvent(1.02, 1.5, "a")]
    assert match_events(true, found, within_collar()) == [(0, 1)]
    counts = count_events(true, found, within_collar())["a"]
    assert (counts.recall, counts.precision, counts.false_alarms) == (1.0, 0.5, 1)
    assert counts.start_error_seconds == pytest.approx(0.02)
    assert counts.end_error_seconds == 0


def test_the_end_of_a_long_event_may_be_off_by_a_fifth_of_its_length() -> None:
    true = [SoundEvent(0, 5, "a")]
    assert match_events(true, [SoundEvent(0, 5.99, "a")], within_collar()) == [(0, 0)]
    assert match_events(true, [SoundEvent(0, 6.01, "a")], within_collar()) == []
    assert match_events(true, [SoundEvent(0.21, 5, "a")], within_collar()) == []


def test_a_hit_has_its_middle_within_the_true_event_whatever_its_borders() -> None:
    true = [SoundEvent(1, 2, "a"), SoundEvent(2, 3, "b")]
    wide, outside = SoundEvent(0, 3.9, "a"), SoundEvent(1.6, 2.6, "a")
    assert match_events(true, [wide], middle_within) == [(0, 0)]
    assert match_events(true, [outside], middle_within) == []
    assert match_events(true, [SoundEvent(0, 3.9, "b")], middle_within) == []


def test_nothing_found_and_nothing_to_find() -> None:
    events = [SoundEvent(0, 1, "a")]
    assert count_events([], [], within_collar()) == {}
    empty = total_counts({})
    assert (empty.recall, empty.precision, empty.f1, empty.false_alarms) == (None, None, None, 0)
    missed = count_events(events, [], within_collar())["a"]
    assert (missed.recall, missed.precision, missed.f1) == (0.0, None, 0.0)
    assert (missed.start_error_seconds, missed.end_error_seconds) == (None, None)
    alarm = count_events([], events, within_collar())["a"]
    assert (alarm.recall, alarm.precision, alarm.f1, alarm.false_alarms) == (None, 0.0, 0.0, 1)
    assert alarm.to_dict(hours=0.5)["false_alarms_per_hour"] == 2


def test_an_event_with_several_labels_is_one_of_each() -> None:
    true = [SoundEvent(0, 1, "dog|rain"), SoundEvent(0, 1, "cat")]
    counts = count_events(true, [SoundEvent(0, 1, "rain"), SoundEvent(0, 1, "cat")], middle_within)
    assert {label: (c.true, c.found, c.matched) for label, c in counts.items()} == {
        "cat": (1, 1, 1),
        "dog": (1, 0, 0),
        "rain": (1, 1, 1),
    }


@pytest.mark.slow
def test_thousands_of_close_events_are_matched() -> None:
    """In pairs they would be a hundred million comparisons of one assignment."""
    true = [SoundEvent(n * 0.36, n * 0.36 + 0.2, "a") for n in range(10_000)]
    found = [SoundEvent(e.start_seconds + 0.05, e.end_seconds, "a") for e in reversed(true)]
    pairs = match_events(true, found, within_collar())
    assert pairs == [(n, 9_999 - n) for n in range(10_000)]
