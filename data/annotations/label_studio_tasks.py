"""Tasks of Label Studio, however they were exported: whose labels count, and of which recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import (
    Annotation,
    AnnotationError,
    Found,
    Lost,
    Problem,
    Provenance,
    plain,
)
from earful.data.annotations.choices import Rule
from earful.data.annotations.conflicts import Opinion, choose, refuse_disputes
from earful.data.annotations.resolve_paths import is_of_label_studio, locate_all, plain_reference
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.labels.multilabel import SEPARATOR, has_several, join_labels


@dataclass(frozen=True)
class Heard:
    """Labels of a task: the control that gave them, and their stretch in seconds (None: all)."""

    control: str
    labels: tuple[str, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class Opined:
    """What one annotator says of a task."""

    heard: tuple[Heard, ...]
    provenance: Provenance
    ground_truth: bool = False


@dataclass(frozen=True)
class Task:
    """A task: where it stands, the fields of its data, what annotators say."""

    where: str
    data: Mapping[str, Any]
    opinions: tuple[Opined, ...]


def collect(
    tasks: Sequence[Task], folder: Path, controls: Sequence[str], rule: Rule, found: Found
) -> None:
    """Put the labels of tasks into ``found``, of each task those of one annotator.

    Raises:
        AnnotationError: controls that are not certain; disagreements under ``error``.
    """
    wanted = _wanted_controls(tasks, controls)
    references = {task.where: _reference(task.data) for task in tasks}
    places = dict(locate_all(sorted({r for r in references.values() if r}), folder))
    disputed: list[Lost] = []
    for task in tasks:
        opinions = [_of_controls(opinion, wanted) for opinion in task.opinions]
        opinions = [opinion for opinion in opinions if opinion.heard]
        if not opinions:
            if task.opinions:
                found.skipped.append(Problem(task.where, "unlabelled", "no label of the control"))
            continue
        place = places.get(references[task.where])
        if place is None:
            reason = f"no audio in its data, which has {_keys(task.data)}"
            place = Problem(task.where, "no_audio", reason)
        if isinstance(place, Problem):
            found.problems.append(Problem(task.where, place.code, place.message))
            continue
        _add_settled(task, opinions, place, rule, found, disputed)
    refuse_disputes(disputed)


def _add_settled(
    task: Task, opinions: Sequence[Opined], path: Path, rule: Rule, found: Found,
    disputed: list[Lost],
) -> None:  # fmt: skip
    asked = [Opinion(_answer(o), o.provenance.moment, o.ground_truth) for o in opinions]
    choice = choose(asked, rule)
    kept = opinions[choice.position]
    for opinion in opinions:
        if _answer(opinion) == _answer(kept):
            continue
        lost = Lost(
            f"{task.where}, {_who(opinion)}", _shown(opinion), _who(kept), _shown(kept), choice.why,
        )  # fmt: skip
        (disputed if choice.disputed else found.lost).append(lost)
    for heard in kept.heard:
        if any(map(has_several, heard.labels)):
            reason = f"a choice with a {SEPARATOR}, which stands between labels: {heard.labels}"
            found.problems.append(Problem(task.where, "bad_label", reason))
            continue
        found.add(
            Annotation(
                task.where, path, join_labels(heard.labels), heard.start_seconds, heard.end_seconds,
                plain(task.data.get("speaker")), plain(task.data.get("split")), kept.provenance,
                kept.ground_truth,
            )
        )  # fmt: skip


def _of_controls(opinion: Opined, wanted: set[str]) -> Opined:
    return replace(opinion, heard=tuple(h for h in opinion.heard if h.control in wanted))


def _answer(opinion: Opined) -> frozenset[tuple[Any, ...]]:
    """What is said, whatever the order in which it was."""
    return frozenset(
        (frozenset(h.labels), str(h.start_seconds), str(h.end_seconds)) for h in opinion.heard
    )


def _who(opinion: Opined) -> str:
    return f"annotator {opinion.provenance.annotator or 'without a name'}"


def _shown(opinion: Opined) -> str:
    first = ", ".join(opinion.heard[0].labels)
    more = len(opinion.heard) - 1
    return f"{first} and {more} more" if more else first


def _wanted_controls(tasks: Sequence[Task], given: Sequence[str]) -> set[str]:
    found = {h.control for task in tasks for o in task.opinions for h in o.heard}
    wanted = set(given) or found
    if (len(found) > 1 and not given) or (found and not wanted & found):
        raise AnnotationError(
            f"labels are of the controls {', '.join(map(repr, sorted(found)))}: say which of them "
            "counts with --label-column NAME (more than once for several)"
        )
    return wanted


def _reference(data: Mapping[str, Any]) -> str:
    """What a task's data say of its audio: the field ``audio``, or the only one that may be it."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    if "audio" in texts:
        return texts["audio"]
    likely = [text for text in texts.values() if _is_audio(text)]
    return likely[0] if len(set(likely)) == 1 else ""


def _is_audio(text: str) -> bool:
    name = text.partition("?")[0] if "://" in text else text
    return is_of_label_studio(text) or Path(name[-300:]).suffix.lower() in AUDIO_SUFFIXES


def _keys(data: Mapping[str, Any]) -> str:
    return ", ".join(repr(plain_reference(str(key))) for key in list(data)[:10]) or "nothing"
