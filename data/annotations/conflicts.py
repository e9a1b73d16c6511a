"""Which label stays where several were given to the same sound.

    latest    the one given last; of those without a time, or with the same, the last in order
    majority  what most say; of equally many, the latest
    first     the first in order
    error     none: every disagreement is told and nothing is written

What a tool marks as ground truth is asked first, whatever the rule.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from earful.data.annotations.annotation import (
    Annotation,
    AnnotationError,
    SupersededLabel,
    format_list,
)
from earful.data.annotations.choices import ConflictRule


@dataclass(frozen=True)
class CandidateLabel:
    """One answer among several: what it says, when it was given, and how sure it is."""

    value: Hashable
    timestamp: float
    ground_truth: bool = False


@dataclass(frozen=True)
class Resolution:
    """The position of the opinion that stays, and in words why; ``disputed`` under ``error``."""

    position: int
    reason: str
    conflicting: bool = False


def resolve_candidates(candidates: Sequence[CandidateLabel], rule: ConflictRule) -> Resolution:
    """The opinion that stays, of at least one."""
    ground_truths = [i for i, candidate in enumerate(candidates) if candidate.ground_truth]
    eligible = ground_truths or list(range(len(candidates)))
    votes = Counter(candidates[i].value for i in eligible)
    explanation = "marked as ground truth, " if ground_truths else ""
    if rule == "first":
        return Resolution(eligible[0], f"{explanation}the first in order")
    if rule == "majority":
        most = max(votes.values())
        eligible = [i for i in eligible if votes[candidates[i].value] == most]
        tie = len({candidates[i].value for i in eligible}) > 1
        explanation += f"{most} of {sum(votes.values())} say so, "
        explanation += "as many as say otherwise, " if tie else ""
    timestamps = [candidates[i].timestamp for i in eligible]
    latest = [i for i in eligible if candidates[i].timestamp == max(timestamps)]
    if rule == "majority" and not (len(votes) > 1 and tie):
        return Resolution(latest[-1], explanation.removesuffix(", "))
    reason = "the latest" if len(latest) == 1 else "the last in order of equal times"
    return Resolution(latest[-1], explanation + reason, rule == "error" and len(votes) > 1)


@dataclass
class ResolvedAnnotations:
    """What stays, in order; what gave way to another label, and what only said it again."""

    kept: list[Annotation] = field(default_factory=list)
    superseded: list[SupersededLabel] = field(default_factory=list)
    duplicates: list[SupersededLabel] = field(default_factory=list)
    conflicting: list[SupersededLabel] = field(default_factory=list)


def resolve(
    annotations: Iterable[Annotation], key: Callable[[Annotation], Hashable], rule: ConflictRule
) -> ResolvedAnnotations:
    """One annotation for each key, in the order of the first of each.

    What the one that stays does not say of the speaker and the split, the others fill in.
    """
    groups: dict[Hashable, list[Annotation]] = {}
    for annotation in annotations:
        groups.setdefault(key(annotation), []).append(annotation)
    resolved = ResolvedAnnotations()
    for group in groups.values():
        _resolve_group(group, rule, resolved)
    return resolved


def _resolve_group(
    group: Sequence[Annotation], rule: ConflictRule, resolved: ResolvedAnnotations
) -> None:
    resolution = resolve_candidates(
        [CandidateLabel(a.label, a.provenance.timestamp, a.ground_truth) for a in group], rule
    )
    kept = group[resolution.position]
    speaker = kept.speaker or next((a.speaker for a in group if a.speaker), "")
    split = kept.split or next((a.split for a in group if a.split), "")
    resolved.kept.append(replace(kept, speaker=speaker, split=split))
    for annotation in group:
        if annotation is kept:
            continue
        superseded = SupersededLabel(
            annotation.location, annotation.label, kept.location, kept.label, resolution.reason
        )
        if superseded.is_duplicate:
            resolved.duplicates.append(superseded)
        elif resolution.conflicting:
            resolved.conflicting.append(superseded)
        else:
            resolved.superseded.append(superseded)


def raise_on_conflicts(conflicting: Sequence[SupersededLabel]) -> None:
    """Stop where people disagree and no rule says who is right.

    Raises:
        AnnotationError: there are disputes; all are told.
    """
    if not conflicting:
        return
    conflict_list = format_list(
        [f"{d.location}: {d.label!r}, but {d.kept_location}: {d.kept_label!r}" for d in conflicting]
    )
    raise AnnotationError(
        "people disagree, and nothing was written; mend the labels, or choose --resolve latest, "
        f"majority or first:\n{conflict_list}"
    )
