"""Read Label Studio's JSON-MIN, CSV and TSV: one flat object or row per annotation.

Data fields and controls are mixed, so the user may have to name the fields that are labels.
Source: Label Studio's converter (exports json_min and csv).
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.json_files import read_objects
from earful.data.annotations.label_studio import (
    FIELD_PREFIX,
    read_provenance,
    to_labelled_span,
)
from earful.data.annotations.label_studio_tasks import (
    LabelledSpan,
    LabelStudioTask,
    TaskAnnotation,
    collect,
)
from earful.data.annotations.tracks import read_text
from earful.data.labels.column_names import COLUMN_NAMES
from earful.data.text.printable import printable_text

FORMAT_MIN, FORMAT_CSV = "label-studio-min", "label-studio-csv"
# Fields that Label Studio or our export adds to a row; none is a label.
NON_LABEL_FIELDS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement",
     "audio", "speaker", "split"}
)  # fmt: skip
# One cell contains all regions of a recording.
_MAX_CELL_CHARACTERS = 1 << 28

TaskRow = tuple[str, Mapping[str, Any]]


def read_min(
    source: Path, audio_dir: Path | None, controls: Sequence[str], rule: ConflictRule
) -> AnnotationSet:
    """Read a JSON-MIN export.

    Raises:
        AnnotationError: as ``label_studio.read_tasks``.
    """
    rows = list(read_objects(source))
    folder = audio_dir or (source if source.is_dir() else source.parent)
    return _read(rows, f"{FORMAT_MIN}:{source.name}", folder, controls, rule)


def read_csv(
    source: Path, audio_dir: Path | None, controls: Sequence[str], rule: ConflictRule
) -> AnnotationSet:
    """Read a CSV or TSV export.

    Raises:
        AnnotationError: as ``label_studio.read_tasks``.
    """
    rows = [(location, _parse_cells(row)) for location, row in csv_rows(source)]
    return _read(rows, f"{FORMAT_CSV}:{source.name}", audio_dir or source.parent, controls, rule)


def csv_rows(source: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(location, cells by column) of each row.

    Raises:
        AnnotationError: the file cannot be read.
    """
    text = read_text(source)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        with _long_cells():
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise csv.Error(f"line {reader.line_num} has not as many cells as the header")
                yield f"{source}, line {reader.line_num}", row
    except csv.Error as error:
        raise AnnotationError(
            f"{source} is not a CSV of Label Studio: {error}; export it again"
        ) from error


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parse_cells(row: Mapping[str, str]) -> dict[str, Any]:
    """A row in which cells with JSON labels are parsed."""
    return {name: _parse_cell(cell) for name, cell in row.items()}


def _parse_cell(cell: str) -> Any:
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if _is_labels(value) else cell


def _is_labels(value: Any) -> bool:
    """Whether a value has the structure of a control's result."""
    if isinstance(value, dict):
        return "choices" in value
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, dict) and ("labels" in v or "choices" in v) for v in value)
    )


def _read(
    rows: Sequence[TaskRow], source: str, folder: Path, controls: Sequence[str], rule: ConflictRule
) -> AnnotationSet:
    collected = AnnotationSet()
    names = list(controls) or [_only_label_field(rows, source)]
    for name in names:
        if not any(name in row for _, row in rows):
            fields = ", ".join(repr(printable_text(field)) for field in _fields(rows))
            raise AnnotationError(f"{source} has no field {name!r}; it has {fields}")
    tasks: dict[str, LabelStudioTask] = {}
    for location, row in rows:
        task_id = printable_text(row.get("id"))
        provenance = read_provenance(
            row, row, source, row.get("annotator"), row.get("annotation_id")
        )
        annotation = TaskAnnotation(tuple(_labelled_spans(row, names)), provenance)
        key = task_id or location
        new = LabelStudioTask(f"{location} (id {task_id})" if task_id else location, row, ())
        task = tasks.get(key, new)
        if not annotation.spans:
            collected.skip(location, "unlabelled", "a task without a label")
        annotations = (*task.annotations, annotation) if annotation.spans else task.annotations
        tasks[key] = replace(task, annotations=annotations)
    collect(list(tasks.values()), folder, names, rule, collected)
    return collected


def _labelled_spans(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[LabelledSpan]:
    for name in names:
        value = row.get(name)
        if isinstance(value, dict):
            yield to_labelled_span(name, value, value.get("choices"))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for item in value:
                region = item if isinstance(item, dict) else {}
                yield to_labelled_span(name, region, region.get("labels", region.get("choices")))
        elif value not in (None, "", []):
            yield to_labelled_span(name, {}, value)


def _fields(rows: Sequence[TaskRow]) -> list[str]:
    return list(dict.fromkeys(str(name) for _, row in rows for name in row))


def _only_label_field(rows: Sequence[TaskRow], source: str) -> str:
    fields = [
        f for f in _fields(rows) if f not in NON_LABEL_FIELDS and not f.startswith(FIELD_PREFIX)
    ]
    shaped = {f for f in fields if any(_is_labels(row.get(f)) for _, row in rows)}
    certain = shaped | {f for f in fields if f.lower() in COLUMN_NAMES["label"]}
    choices = sorted(certain) or fields
    if len(choices) != 1:
        raise AnnotationError(
            f"the label field of {source} is ambiguous: give it as --label-column; "
            f"it has {', '.join(repr(printable_text(f)) for f in choices) or 'none'}"
        )
    return choices[0]
