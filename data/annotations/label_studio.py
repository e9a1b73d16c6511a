"""Label Studio's JSON: read exported tasks, build results to import.

A task is ``{"data": {"audio": ...}, "annotations": [...]}``; an annotation has a ``result`` per
control: choices for the whole recording, labels for a region in seconds. Before version 1
annotations were called completions. Sources: its documentation, "Export annotations", "Import
pre-annotated data", and the tags Audio, Choices and Labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationSet, parse_seconds
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.json_files import read_objects
from earful.data.annotations.label_studio_tasks import (
    LabelledSpan,
    LabelStudioTask,
    TaskAnnotation,
    collect,
)
from earful.data.labels.clip import Provenance
from earful.data.text.printable import printable_text

FORMAT = "label-studio"
# Prefix of our own task fields, for what Label Studio has no field; it keeps them with the task.
FIELD_PREFIX = "earful_"


def read_tasks(
    source: Path, audio_dir: Path | None, controls: Sequence[str], rule: ConflictRule
) -> AnnotationSet:
    """Read a JSON export: a file, or a folder with one file per task.

    ``controls`` are the names of the controls whose results are labels; required if there are
    several.

    Raises:
        AnnotationError: not such an export; ambiguous controls; conflicts under ``error``.
    """
    collected = AnnotationSet()
    tasks = []
    for location, value in read_objects(source):
        task = _task(location, value, f"{FORMAT}:{source.name}", collected)
        if task is not None:
            tasks.append(task)
    folder = audio_dir or (source if source.is_dir() else source.parent)
    collect(tasks, folder, controls, rule, collected)
    return collected


def _task(
    location: str, value: Mapping[str, Any], source: str, collected: AnnotationSet
) -> LabelStudioTask | None:
    if isinstance(value.get("task"), dict) and isinstance(value.get("result"), list):
        # Annotation storage nests the task inside the annotation.
        value = {**value["task"], "annotations": [value]}
    data = value.get("data")
    annotations = value.get("annotations", value.get("completions", []))
    if "id" in value:
        location = f"{location} (id {printable_text(value['id'])})"
    if not isinstance(data, dict) or not isinstance(annotations, list):
        reason = "not a task: it needs 'data' with the audio and a list of 'annotations'"
        collected.refuse(location, "bad_task", reason)
        return None
    task_annotations = []
    for annotation in annotations:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
            collected.refuse(location, "bad_task", "an annotation without a 'result'")
        elif annotation.get("was_cancelled"):
            collected.skip(location, "cancelled", "an annotation was cancelled")
        else:
            task_annotations.append(_task_annotation(location, annotation, source, data, collected))
    if not annotations:
        collected.skip(location, "unlabelled", "a task without annotations")
    return LabelStudioTask(location, data, tuple(o for o in task_annotations if o.spans))


def _task_annotation(
    location: str,
    annotation: Mapping[str, Any],
    source: str,
    data: Mapping[str, Any],
    collected: AnnotationSet,
) -> TaskAnnotation:
    spans = tuple(_results(location, annotation["result"], collected))
    if not annotation["result"]:
        collected.skip(location, "unlabelled", "an annotation without a label")
    ground_truth = bool(annotation.get("ground_truth") or annotation.get("honeypot"))
    provenance = read_provenance(
        annotation, data, source, annotation.get("completed_by"), annotation.get("id")
    )
    return TaskAnnotation(spans, provenance, ground_truth)


def read_provenance(
    annotation: Mapping[str, Any],
    data: Mapping[str, Any],
    source: str,
    annotator: Any,
    annotation_id: Any,
) -> Provenance:
    """Who annotated and when; from ``data`` for a label that was imported and not changed since."""
    name = annotator_text(annotator)
    annotated_at = to_iso_timestamp(annotation.get("updated_at") or annotation.get("created_at"))
    if not name and not annotated_at:
        texts = [printable_text(data.get(FIELD_PREFIX + field)) for field in vars(Provenance())]
        return Provenance(texts[0] or source, *texts[1:])
    return Provenance(source, name, annotated_at, printable_text(annotation_id))


def annotator_text(annotator: Any) -> str:
    """The annotator's email address in Label Studio, else their id there."""
    if isinstance(annotator, dict):
        annotator = annotator.get("email") or annotator.get("id")
    return printable_text(annotator)


def _results(
    location: str, results: Sequence[Any], collected: AnnotationSet
) -> Iterator[LabelledSpan]:
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            collected.refuse(location, "bad_task", "a result without a 'value'")
            continue
        kind = "labels" if "labels" in value else "choices"
        if kind not in value:
            name, kind = (printable_text(result.get(key)) for key in ("from_name", "type"))
            reason = f"the result {name!r} of type {kind!r} is not a label"
            collected.skip(location, "no_label", reason)
            continue
        yield to_labelled_span(printable_text(result.get("from_name")), value, value[kind])


def to_labelled_span(control: str, value: Mapping[str, Any], labels: Any) -> LabelledSpan:
    """The labels and times of a result value; labels that are not text become empty."""
    labels = labels if isinstance(labels, list) else [labels]
    texts = tuple(text if isinstance(text, str) else "" for text in labels)
    if "start" not in value and "end" not in value:
        return LabelledSpan(control, texts)
    return LabelledSpan(
        control, texts, parse_seconds(value.get("start")), parse_seconds(value.get("end"))
    )


def to_iso_timestamp(value: Any) -> str:
    """A Label Studio timestamp as ISO 8601; early versions use seconds since 1970."""
    if isinstance(value, str):
        return printable_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def choice_result(
    result_id: str, control: str, audio: str, labels: Sequence[str]
) -> dict[str, Any]:
    """A Label Studio result for the labels of a whole recording."""
    return _result(result_id, control, audio, "choices", {"choices": list(labels)})


def region_result(
    result_id: str,
    control: str,
    audio: str,
    labels: Sequence[str],
    start_seconds: float,
    end_seconds: float,
) -> dict[str, Any]:
    """A Label Studio result for the labels of a segment."""
    value = region_value(labels, start_seconds, end_seconds)
    return _result(result_id, control, audio, "labels", value)


def region_value(
    labels: Sequence[str], start_seconds: float | None, end_seconds: float | None
) -> dict[str, Any]:
    """The labels and the times of a segment, as results and flat exports have them."""
    return {"start": start_seconds, "end": end_seconds, "channel": 0, "labels": list(labels)}


def _result(
    result_id: str, control: str, audio: str, kind: str, value: dict[str, Any]
) -> dict[str, Any]:
    names = {"id": result_id, "from_name": control, "to_name": audio}
    return {**names, "type": kind, "value": value}
