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

from earful.data.annotations.annotation import Annotation, AnnotationError, Lost, listed
from earful.data.annotations.choices import Rule


@dataclass(frozen=True)
class Opinion:
    """One answer among several: what it says, when it was given, and how sure it is."""

    answer: Hashable
    moment: float
    ground_truth: bool = False


@dataclass(frozen=True)
class Choice:
    """The position of the opinion that stays, and in words why; ``disputed`` under ``error``."""

    position: int
    why: str
    disputed: bool = False


def choose(opinions: Sequence[Opinion], rule: Rule) -> Choice:
    """The opinion that stays, of at least one."""
    truths = [i for i, opinion in enumerate(opinions) if opinion.ground_truth]
    asked = truths or list(range(len(opinions)))
    votes = Counter(opinions[i].answer for i in asked)
    marked = "marked as ground truth, " if truths else ""
    if rule == "first":
        return Choice(asked[0], f"{marked}the first in order")
    if rule == "majority":
        most = max(votes.values())
        asked = [i for i in asked if votes[opinions[i].answer] == most]
        tie = len({opinions[i].answer for i in asked}) > 1
        marked += f"{most} of {sum(votes.values())} say so, "
        marked += "as many as say otherwise, " if tie else ""
    moments = [opinions[i].moment for i in asked]
    latest = [i for i in asked if opinions[i].moment == max(moments)]
    if rule == "majority" and not (len(votes) > 1 and tie):
        return Choice(latest[-1], marked.removesuffix(", "))
    why = "the latest" if len(latest) == 1 else "the last in order of equal times"
    return Choice(latest[-1], marked + why, rule == "error" and len(votes) > 1)


@dataclass
class Resolved:
    """What stays, in order; what gave way to another label, and what only said it again."""

    kept: list[Annotation] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    repeated: list[Lost] = field(default_factory=list)
    disputed: list[Lost] = field(default_factory=list)


def resolve(
    annotations: Iterable[Annotation], key: Callable[[Annotation], Hashable], rule: Rule
) -> Resolved:
    """One annotation for each key, in the order of the first of each.

    What the one that stays does not say of the speaker and the split, the others fill in.
    """
    groups: dict[Hashable, list[Annotation]] = {}
    for annotation in annotations:
        groups.setdefault(key(annotation), []).append(annotation)
    resolved = Resolved()
    for group in groups.values():
        _settle(group, rule, resolved)
    return resolved


def _settle(group: Sequence[Annotation], rule: Rule, resolved: Resolved) -> None:
    choice = choose([Opinion(a.label, a.provenance.moment, a.ground_truth) for a in group], rule)
    kept = group[choice.position]
    speaker = kept.speaker or next((a.speaker for a in group if a.speaker), "")
    split = kept.split or next((a.split for a in group if a.split), "")
    resolved.kept.append(replace(kept, speaker=speaker, split=split))
    for annotation in group:
        if annotation is kept:
            continue
        lost = Lost(annotation.where, annotation.label, kept.where, kept.label, choice.why)
        if lost.same:
            resolved.repeated.append(lost)
        elif choice.disputed:
            resolved.disputed.append(lost)
        else:
            resolved.lost.append(lost)


def refuse_disputes(disputed: Sequence[Lost]) -> None:
    """Stop where people disagree and no rule says who is right.

    Raises:
        AnnotationError: there are disputes; all are told.
    """
    if not disputed:
        return
    told = listed(
        [f"{d.where}: {d.label!r}, but {d.kept_where}: {d.kept_label!r}" for d in disputed]
    )
    raise AnnotationError(
        "people disagree, and nothing was written; mend the labels, or choose --resolve latest, "
        f"majority or first:\n{told}"
    )
