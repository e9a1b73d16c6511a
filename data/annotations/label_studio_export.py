"""Write labels for Label Studio: tasks, JSON-MIN, CSV or TSV, and the labelling configuration.

Recordings are referenced as in Label Studio's local storage, relative to the folder that it serves
(LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT). Fields that it does not have go into the task's data.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from earful.data.annotations.annotation import AnnotationSet, absolute_path
from earful.data.annotations.label_studio import (
    FIELD_PREFIX,
    choice_result,
    region_result,
    region_value,
)
from earful.data.labels.clip import Clip
from earful.data.labels.multilabel import distinct_labels, has_multiple_labels, split_labels

AUDIO, LABEL, EVENT = "audio", "label", "event"
MODEL_VERSION = "earful-labels"
_LOCAL_FILES = "/data/local-files/?d="


def keep_served(collected: AnnotationSet, folder: Path) -> AnnotationSet:
    """The annotations inside the folder that Label Studio serves; the others become problems."""
    served = AnnotationSet(problems=collected.problems, notes=collected.notes)
    for annotation in collected.annotations:
        if absolute_path(annotation.path).is_relative_to(folder.resolve()):
            served.annotations.append(annotation)
        else:
            reason = f"is outside {folder}; give the folder that Label Studio serves as --audio-dir"
            served.problems.append(annotation.problem("outside", reason))
    return served


def write_tasks(
    annotations: Sequence[Clip], folder: Path, file: TextIO, *, as_predictions: bool
) -> None:
    """Write tasks with annotations, or with predictions for annotators to confirm."""
    regions = _region_control(annotations)
    number = 0
    tasks = []
    for group in _grouped(annotations):
        results = []
        for annotation in group:
            number += 1
            results.append(_result(f"earful{number}", regions, annotation))
        annotation_fields: dict[str, Any] = {"result": results}
        if as_predictions:
            annotation_fields["model_version"] = MODEL_VERSION
        kind = "predictions" if as_predictions else "annotations"
        tasks.append({"data": _data(group[0], folder), kind: [annotation_fields]})
    json.dump(tasks, file, ensure_ascii=False, indent=1)


def _result(result_id: str, regions: str, annotation: Clip) -> dict[str, Any]:
    labels = split_labels(annotation.label)
    if annotation.span is None:
        return choice_result(result_id, LABEL, AUDIO, labels)
    return region_result(result_id, regions, AUDIO, labels, *annotation.span)


def write_min(annotations: Sequence[Clip], folder: Path, file: TextIO) -> None:
    """Write JSON-MIN: one flat object per task."""
    json.dump(_flat(annotations, folder), file, ensure_ascii=False, indent=1)


def write_csv(annotations: Sequence[Clip], folder: Path, file: TextIO, delimiter: str) -> None:
    """Write one row per task; regions, and labels that look like JSON, are JSON in a cell."""
    rows = _flat(annotations, folder)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\r\n", restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        value = {"choices": [value]}
    return value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)


def _flat(annotations: Sequence[Clip], folder: Path) -> list[dict[str, Any]]:
    regions = _region_control(annotations)
    rows = []
    for number, group in enumerate(_grouped(annotations), 1):
        annotation_fields: dict[str, Any]
        if group[0].is_whole_recording:
            annotation_fields = {LABEL: _choice(group[0].label)}
        else:
            annotation_fields = {
                regions: [
                    region_value(split_labels(a.label), a.start_seconds, a.end_seconds)
                    for a in group
                ]
            }
        # Columns of Label Studio's own exports, by which the format is detected.
        ids = {"id": number, "annotation_id": number}
        rows.append(_data(group[0], folder) | annotation_fields | ids)
    return rows


def _choice(label: str) -> Any:
    """A choice as in an export: text for one label, an object for several."""
    return {"choices": split_labels(label)} if has_multiple_labels(label) else label


def _region_control(annotations: Iterable[Clip]) -> str:
    """The name of the control for regions: ``label`` unless whole recordings use it."""
    return EVENT if any(annotation.is_whole_recording for annotation in annotations) else LABEL


def _data(annotation: Clip, folder: Path) -> dict[str, str]:
    relative = absolute_path(annotation.path).relative_to(folder.resolve()).as_posix()
    known: Mapping[str, str] = {
        "speaker": annotation.speaker,
        "split": annotation.split,
        **{FIELD_PREFIX + name: value for name, value in vars(annotation.provenance).items()},
    }
    filled = {name: value for name, value in known.items() if value}
    return {AUDIO: _LOCAL_FILES + quote(relative, errors="surrogateescape"), **filled}


def _grouped(annotations: Iterable[Clip]) -> list[list[Clip]]:
    """Annotations grouped into tasks: a whole recording, or all its regions by one annotator."""
    groups: dict[tuple[Any, ...], list[Clip]] = {}
    for a in annotations:
        groups.setdefault(
            (a.path, a.is_whole_recording, a.speaker, a.split, a.provenance), []
        ).append(a)
    return list(groups.values())


def labelling_config(annotations: Sequence[Clip]) -> str:
    """The labelling configuration of a project for these tasks, as XML."""
    clip_labels = [a.label for a in annotations if a.is_whole_recording]
    region_labels = [a.label for a in annotations if not a.is_whole_recording]
    lines = ["<View>", f'  <Audio name="{AUDIO}" value="${AUDIO}"/>']
    for tag, item, control, labels in (
        ("Choices", "Choice", LABEL, clip_labels),
        ("Labels", "Label", _region_control(annotations), region_labels),
    ):
        if labels:
            multiple = ' choice="multiple"' if any(map(has_multiple_labels, labels)) else ""
            lines.append(f'  <{tag} name="{control}" toName="{AUDIO}"{multiple}>')
            lines += [
                f"    <{item} value={quoteattr(label)}/>" for label in distinct_labels(labels)
            ]
            lines.append(f"  </{tag}>")
    return "\n".join([*lines, "</View>"])
