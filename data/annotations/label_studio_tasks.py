"""Label Studio tasks of any export format: choose the labels, locate the recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationError, AnnotationSet, SupersededLabel
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.conflicts import CandidateLabel, raise_on_conflicts, resolve_candidates
from earful.data.annotations.resolve_paths import (
    is_label_studio_path,
    locate_all,
    printable_reference,
)
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.labels.clip import Clip, ClipProblem, Provenance
from earful.data.labels.multilabel import SEPARATOR, has_multiple_labels, join_labels
from earful.data.text.printable import printable_text


@dataclass(frozen=True)
class LabelledSpan:
    """Labels of a control, for a segment in seconds or (None) the whole recording."""

    control: str
    labels: tuple[str, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class TaskAnnotation:
    """All labels of a task by one annotator."""

    spans: tuple[LabelledSpan, ...]
    provenance: Provenance
    ground_truth: bool = False


@dataclass(frozen=True)
class LabelStudioTask:
    """A task: its location in the source, its data fields, its annotations."""

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
    """Add the labels of tasks to ``collected``; each task's are those of one annotator.

    Raises:
        AnnotationError: ambiguous controls; conflicts under ``error``.
    """
    selected = _select_controls(tasks, controls)
    references = {task.location: _reference(task.data) for task in tasks}
    paths = dict(locate_all(sorted({r for r in references.values() if r}), folder))
    conflicting: list[SupersededLabel] = []
    for task in tasks:
        annotations = [_keep_controls(annotation, selected) for annotation in task.annotations]
        annotations = [annotation for annotation in annotations if annotation.spans]
        if not annotations:
            if task.annotations:
                collected.skip(task.location, "unlabelled", "no label of the selected control")
            continue
        path = paths.get(references[task.location])
        if path is None:
            reason = f"no audio in its data, which has {_keys(task.data)}"
            path = ClipProblem(0, task.location, "no_audio", reason)
        if isinstance(path, ClipProblem):
            collected.refuse(task.location, path.code, path.message)
            continue
        kept = _resolve_task(task, annotations, rule, collected, conflicting)
        _add_labels(task, kept, path, collected)
    raise_on_conflicts(conflicting)


def _resolve_task(
    task: LabelStudioTask,
    annotations: Sequence[TaskAnnotation],
    rule: ConflictRule,
    collected: AnnotationSet,
    conflicting: list[SupersededLabel],
) -> TaskAnnotation:
    """The annotation to keep; the others that differ are recorded as superseded or conflicting."""
    candidates = [
        CandidateLabel(_comparable(a), a.provenance.timestamp, a.ground_truth) for a in annotations
    ]
    resolution = resolve_candidates(candidates, rule)
    kept = annotations[resolution.position]
    for annotation in annotations:
        if _comparable(annotation) == _comparable(kept):
            continue
        superseded = SupersededLabel(
            location=f"{task.location}, {_annotator_name(annotation)}",
            label=_format_labels(annotation),
            kept_location=_annotator_name(kept),
            kept_label=_format_labels(kept),
            reason=resolution.reason,
        )
        (conflicting if resolution.conflicting else collected.superseded).append(superseded)
    return kept


def _add_labels(
    task: LabelStudioTask, kept: TaskAnnotation, path: Path, collected: AnnotationSet
) -> None:
    for span in kept.spans:
        if any(map(has_multiple_labels, span.labels)):
            reason = f"a choice has a {SEPARATOR}, which separates labels: {span.labels}"
            collected.refuse(task.location, "bad_label", reason)
            continue
        collected.add(
            Clip(
                line=0,
                filename=task.location,
                path=path,
                label=join_labels(span.labels),
                start_seconds=span.start_seconds,
                end_seconds=span.end_seconds,
                speaker=printable_text(task.data.get("speaker")),
                split=printable_text(task.data.get("split")),
                provenance=kept.provenance,
                ground_truth=kept.ground_truth,
            )
        )


def _keep_controls(annotation: TaskAnnotation, controls: set[str]) -> TaskAnnotation:
    spans = tuple(span for span in annotation.spans if span.control in controls)
    return replace(annotation, spans=spans)


def _comparable(annotation: TaskAnnotation) -> frozenset[tuple[Any, ...]]:
    """The labels and times of an annotation, independent of order."""
    return frozenset(
        (frozenset(span.labels), str(span.start_seconds), str(span.end_seconds))
        for span in annotation.spans
    )


def _annotator_name(annotation: TaskAnnotation) -> str:
    return f"annotator {annotation.provenance.annotator or 'without a name'}"


def _format_labels(annotation: TaskAnnotation) -> str:
    first = ", ".join(annotation.spans[0].labels)
    more = len(annotation.spans) - 1
    return f"{first} and {more} more" if more else first


def _select_controls(tasks: Sequence[LabelStudioTask], given: Sequence[str]) -> set[str]:
    controls = {span.control for task in tasks for a in task.annotations for span in a.spans}
    selected = set(given) or controls
    if (len(controls) > 1 and not given) or (controls and not selected & controls):
        raise AnnotationError(
            f"there are labels of the controls {', '.join(map(repr, sorted(controls)))}: select "
            "one with --label-column NAME (repeat it for several)"
        )
    return selected


def _reference(data: Mapping[str, Any]) -> str:
    """The audio reference in a task's data: the field ``audio``, or the only audio-like text."""
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
