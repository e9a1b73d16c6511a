"""Tasks of Label Studio, however they were exported: whose labels count, and of which recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import (
    Annotation,
    AnnotationError,
    AnnotationSet,
    Problem,
    Provenance,
    SupersededLabel,
    printable_text,
)
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.conflicts import CandidateLabel, raise_on_conflicts, resolve_candidates
from earful.data.annotations.resolve_paths import (
    is_label_studio_path,
    locate_all,
    printable_reference,
)
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.labels.multilabel import SEPARATOR, has_multiple_labels, join_labels


@dataclass(frozen=True)
class LabelledSpan:
    """Labels of a task: the control that gave them, and their stretch in seconds (None: all)."""

    control: str
    labels: tuple[str, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class TaskAnnotation:
    """What one annotator says of a task."""

    spans: tuple[LabelledSpan, ...]
    provenance: Provenance
    ground_truth: bool = False


@dataclass(frozen=True)
class LabelStudioTask:
    """A task: where it stands, the fields of its data, what annotators say."""

    location: str
    data: Mapping[str, Any]
    annotations: tuple[TaskAnnotation, ...]


def collect(
    tasks: Sequence[LabelStudioTask],
    folder: Path,
    controls: Sequence[str],
    rule: ConflictRule,
    collected: AnnotationSet,
) -> None:
    """Put the labels of tasks into ``found``, of each task those of one annotator.

    Raises:
        AnnotationError: controls that are not certain; disagreements under ``error``.
    """
    wanted = _select_controls(tasks, controls)
    references = {task.location: _reference(task.data) for task in tasks}
    places = dict(locate_all(sorted({r for r in references.values() if r}), folder))
    conflicting: list[SupersededLabel] = []
    for task in tasks:
        annotations = [_keep_controls(annotation, wanted) for annotation in task.annotations]
        annotations = [annotation for annotation in annotations if annotation.spans]
        if not annotations:
            if task.annotations:
                collected.skipped.append(
                    Problem(task.location, "unlabelled", "no label of the control")
                )
            continue
        place = places.get(references[task.location])
        if place is None:
            reason = f"no audio in its data, which has {_keys(task.data)}"
            place = Problem(task.location, "no_audio", reason)
        if isinstance(place, Problem):
            collected.problems.append(Problem(task.location, place.code, place.message))
            continue
        _add_resolved(task, annotations, place, rule, collected, conflicting)
    raise_on_conflicts(conflicting)


def _add_resolved(
    task: LabelStudioTask,
    annotations: Sequence[TaskAnnotation],
    path: Path,
    rule: ConflictRule,
    collected: AnnotationSet,
    conflicting: list[SupersededLabel],
) -> None:
    candidates = [
        CandidateLabel(_comparable(o), o.provenance.timestamp, o.ground_truth) for o in annotations
    ]
    resolution = resolve_candidates(candidates, rule)
    kept = annotations[resolution.position]
    for annotation in annotations:
        if _comparable(annotation) == _comparable(kept):
            continue
        superseded = SupersededLabel(
            f"{task.location}, {_annotator_name(annotation)}",
            _format_labels(annotation),
            _annotator_name(kept),
            _format_labels(kept),
            resolution.reason,
        )
        (conflicting if resolution.conflicting else collected.superseded).append(superseded)
    for span in kept.spans:
        if any(map(has_multiple_labels, span.labels)):
            reason = f"a choice with a {SEPARATOR}, which stands between labels: {span.labels}"
            collected.problems.append(Problem(task.location, "bad_label", reason))
            continue
        collected.add(
            Annotation(
                task.location,
                path,
                join_labels(span.labels),
                span.start_seconds,
                span.end_seconds,
                printable_text(task.data.get("speaker")),
                printable_text(task.data.get("split")),
                kept.provenance,
                kept.ground_truth,
            )
        )


def _keep_controls(annotation: TaskAnnotation, wanted: set[str]) -> TaskAnnotation:
    return replace(annotation, spans=tuple(h for h in annotation.spans if h.control in wanted))


def _comparable(annotation: TaskAnnotation) -> frozenset[tuple[Any, ...]]:
    """What is said, whatever the order in which it was."""
    return frozenset(
        (frozenset(h.labels), str(h.start_seconds), str(h.end_seconds)) for h in annotation.spans
    )


def _annotator_name(annotation: TaskAnnotation) -> str:
    return f"annotator {annotation.provenance.annotator or 'without a name'}"


def _format_labels(annotation: TaskAnnotation) -> str:
    first = ", ".join(annotation.spans[0].labels)
    more = len(annotation.spans) - 1
    return f"{first} and {more} more" if more else first


def _select_controls(tasks: Sequence[LabelStudioTask], given: Sequence[str]) -> set[str]:
    controls = {h.control for task in tasks for o in task.annotations for h in o.spans}
    wanted = set(given) or controls
    if (len(controls) > 1 and not given) or (controls and not wanted & controls):
        raise AnnotationError(
            f"labels are of the controls {', '.join(map(repr, sorted(controls)))}: say which of them "
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
    return is_label_studio_path(text) or Path(name[-300:]).suffix.lower() in AUDIO_SUFFIXES


def _keys(data: Mapping[str, Any]) -> str:
    return ", ".join(repr(printable_reference(str(key))) for key in list(data)[:10]) or "nothing"
