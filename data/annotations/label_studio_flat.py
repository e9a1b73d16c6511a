"""Label Studio's JSON-MIN, CSV and TSV: an object or a row for each annotation, its fields flat.

The fields of the data stand beside those of the controls, so that which of them are labels may have
to be said. Source: Label Studio's converter (exports json_min and csv).
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationError, Found, Problem, Provenance, plain
from earful.data.annotations.choices import Rule
from earful.data.annotations.json_files import read_objects
from earful.data.annotations.label_studio import EARFUL, heard_of, moment_text, of_data
from earful.data.annotations.label_studio_tasks import Heard, Opined, Task, collect
from earful.data.annotations.tracks import read_text
from earful.data.labels.labels_csv import COLUMN_NAMES

FORMAT_MIN, FORMAT_CSV = "label-studio-min", "label-studio-csv"
# What Label Studio adds to a row by itself, and what we do; none of it is a label.
OWN_FIELDS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement",
     "audio", "speaker", "split"}
)  # fmt: skip
# A cell holds all regions of a recording.
_MAX_CELL_CHARACTERS = 1 << 28

Row = tuple[str, Mapping[str, Any]]


def read_min(source: Path, audio_dir: Path | None, controls: Sequence[str], rule: Rule) -> Found:
    """The labels of an export as JSON-MIN.

    Raises:
        AnnotationError: as ``label_studio.read_tasks``.
    """
    rows = list(read_objects(source))
    folder = audio_dir or (source if source.is_dir() else source.parent)
    return _read(rows, f"{FORMAT_MIN}:{source.name}", folder, controls, rule)


def read_csv(source: Path, audio_dir: Path | None, controls: Sequence[str], rule: Rule) -> Found:
    """The labels of an export as CSV or TSV.

    Raises:
        AnnotationError: as ``label_studio.read_tasks``.
    """
    rows = [(where, _unpacked(row)) for where, row in csv_rows(source)]
    return _read(rows, f"{FORMAT_CSV}:{source.name}", audio_dir or source.parent, controls, rule)


def csv_rows(source: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its cells by column.

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
        raise AnnotationError(f"{source} is no CSV of Label Studio: {error}") from error


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _unpacked(row: Mapping[str, str]) -> dict[str, Any]:
    """A row with the cells that hold JSON of labels as what they hold."""
    return {name: _parsed(cell) for name, cell in row.items()}


def _parsed(cell: str) -> Any:
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if _is_labels(value) else cell


def _is_labels(value: Any) -> bool:
    """Whether a value has a shape that only a control's answer has."""
    if isinstance(value, dict):
        return "choices" in value
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, dict) and ("labels" in v or "choices" in v) for v in value)
    )


def _read(
    rows: Sequence[Row], source: str, folder: Path, controls: Sequence[str], rule: Rule
) -> Found:
    found = Found()
    names = list(controls) or [_only_label_field(rows, source)]
    for name in names:
        if not any(name in row for _, row in rows):
            fields = ", ".join(repr(plain(field)) for field in _fields(rows))
            raise AnnotationError(f"{source} has no field {name!r}; it has {fields}")
    tasks: dict[str, Task] = {}
    for where, row in rows:
        task_id = plain(row.get("id"))
        opined = Opined(tuple(_heard(row, names)), _provenance(row, source))
        key = task_id or where
        before = tasks.get(key, Task(f"{where} (id {task_id})" if task_id else where, row, ()))
        if not opined.heard:
            found.skipped.append(Problem(where, "unlabelled", "a task without a label"))
        opinions = (*before.opinions, opined) if opined.heard else before.opinions
        tasks[key] = Task(before.where, before.data, opinions)
    collect(list(tasks.values()), folder, names, rule, found)
    return found


def _heard(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[Heard]:
    for name in names:
        value = row.get(name)
        if isinstance(value, dict):
            yield heard_of(name, value, value.get("choices"))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for item in value:
                stretch = item if isinstance(item, dict) else {}
                yield heard_of(name, stretch, stretch.get("labels", stretch.get("choices")))
        elif value not in (None, "", []):
            yield heard_of(name, {}, value)


def _provenance(row: Mapping[str, Any], source: str) -> Provenance:
    by = row.get("annotator")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    at = moment_text(row.get("updated_at") or row.get("created_at"))
    if by in (None, "") and not at:
        return of_data(row, source)
    return Provenance(source, plain(by), at, plain(row.get("annotation_id")))


def _fields(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(name) for _, row in rows for name in row))


def _only_label_field(rows: Sequence[Row], source: str) -> str:
    fields = [f for f in _fields(rows) if f not in OWN_FIELDS and not f.startswith(EARFUL)]
    shaped = {f for f in fields if any(_is_labels(row.get(f)) for _, row in rows)}
    certain = shaped | {f for f in fields if f.lower() in COLUMN_NAMES["label"]}
    choices = sorted(certain) or fields
    if len(choices) != 1:
        raise AnnotationError(
            f"{source} has no single field that must be the labels: give one as --label-column; "
            f"it has {', '.join(repr(plain(f)) for f in choices) or 'none'}"
        )
    return choices[0]
