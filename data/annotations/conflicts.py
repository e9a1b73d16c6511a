"""Resolve conflicting labels of the same audio.

    latest    the latest by time; without times or at equal times, the last in order
    majority  the most frequent label; on ties, the latest
    first     the first in order
    error     conflicts are an error: all are listed and nothing is written

Labels marked as ground truth take precedence under every rule.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from earful.data.annotations.annotation import (
    AnnotationError,
    AnnotationSet,
    SupersededLabel,
    format_list,
)
from earful.data.annotations.choices import ConflictRule
from earful.data.labels.clip import Clip


@dataclass(frozen=True)
class CandidateLabel:
    """One of several labels of the same audio: its value and time, and if it is ground truth."""

    value: Hashable
    timestamp: float
    ground_truth: bool = False


@dataclass(frozen=True)
class Resolution:
    """The position of the kept candidate and the reason; ``conflicting`` under ``error`` only."""

    position: int
    reason: str
    conflicting: bool = False


def resolve_candidates(candidates: Sequence[CandidateLabel], rule: ConflictRule) -> Resolution:
    """Choose one of the candidates, at least one, by the rule."""
    ground_truths = [i for i, candidate in enumerate(candidates) if candidate.ground_truth]
    eligible = ground_truths or list(range(len(candidates)))
    votes = Counter(candidates[i].value for i in eligible)
    explanation = "marked as ground truth, " if ground_truths else ""
    if rule == "first":
        return Resolution(eligible[0], f"{explanation}the first in order")
    if rule == "majority":
        most_votes = max(votes.values())
        eligible = [i for i in eligible if votes[candidates[i].value] == most_votes]
        tie = len({candidates[i].value for i in eligible}) > 1
        explanation += f"{most_votes} of {sum(votes.values())} annotations agree, "
        explanation += "a tie, " if tie else ""
    timestamps = [candidates[i].timestamp for i in eligible]
    latest = [i for i in eligible if candidates[i].timestamp == max(timestamps)]
    if rule == "majority" and not (len(votes) > 1 and tie):
        return Resolution(latest[-1], explanation.removesuffix(", "))
    reason = "the latest" if len(latest) == 1 else "the last in order at equal times"
    return Resolution(latest[-1], explanation + reason, rule == "error" and len(votes) > 1)


def resolve(
    collected: AnnotationSet,
    clips: Sequence[Clip],
    key: Callable[[Clip], Hashable],
    rule: ConflictRule,
) -> None:
    """Keep one of the clips per key, in order of first occurrence; the others are recorded.

    If the kept one has no speaker or split, the first other one that has fills it in.

    Raises:
        AnnotationError: conflicts under ``error``; all are listed.
    """
    groups: dict[Hashable, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(key(clip), []).append(clip)
    collected.annotations = []
    conflicting: list[SupersededLabel] = []
    for group in groups.values():
        _resolve_group(group, rule, collected, conflicting)
    raise_on_conflicts(conflicting)


def _resolve_group(
    group: Sequence[Clip],
    rule: ConflictRule,
    collected: AnnotationSet,
    conflicting: list[SupersededLabel],
) -> None:
    resolution = resolve_candidates(
        [CandidateLabel(a.label, a.provenance.timestamp, a.ground_truth) for a in group], rule
    )
    kept = group[resolution.position]
    speaker = kept.speaker or next((a.speaker for a in group if a.speaker), "")
    split = kept.split or next((a.split for a in group if a.split), "")
    collected.annotations.append(replace(kept, speaker=speaker, split=split))
    for clip in group:
        if clip is kept:
            continue
        superseded = SupersededLabel(
            clip.location, clip.label, kept.location, kept.label, resolution.reason
        )
        if superseded.is_duplicate:
            collected.duplicates.append(superseded)
        else:
            (conflicting if resolution.conflicting else collected.superseded).append(superseded)


def raise_on_conflicts(conflicting: Sequence[SupersededLabel]) -> None:
    """Raise if labels conflict under the rule ``error``.

    Raises:
        AnnotationError: there are conflicts; all are listed.
    """
    if not conflicting:
        return
    conflict_list = format_list(
        [f"{d.location}: {d.label!r}, but {d.kept_location}: {d.kept_label!r}" for d in conflicting]
    )
    raise AnnotationError(
        "labels conflict and nothing was written; fix the labels, or use --resolve latest, "
        f"majority or first:\n{conflict_list}"
    )
