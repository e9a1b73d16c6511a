"""The labels CSV with where each label is from: the columns of ``data.labels.labels_csv`` and four more.

    source, annotator, annotated_at, annotation_id

Labels and names are written as they are: this is data to be read by programs, also where a label
begins like a formula.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from earful.data.annotations.annotation import (
    Annotation,
    AnnotationError,
    AnnotationSet,
    Problem,
    Provenance,
    absolute_path,
    format_seconds,
    printable_text,
)
from earful.data.atomic_write import OutputError, staged_file
from earful.data.labels.labels_csv import COLUMN_NAMES, read_labels, read_rows

PROVENANCE_COLUMNS = ("source", "annotator", "annotated_at", "annotation_id")


def read_table(labels_csv: Path, audio_dir: Path | None = None) -> AnnotationSet:
    """The rows of a labels CSV; one that does not say where it is from is from this file.

    Raises:
        LabelsError: the CSV itself cannot be used.
    """
    labelled = read_labels(labels_csv, audio_dir)
    provenance, unknown_columns = _read_provenance(labels_csv)
    collected = AnnotationSet(notes=unknown_columns)
    collected.problems = [
        Problem(
            f"{labels_csv}, line {p.line}",
            "bad_row",
            f"column {p.column}, value {p.value!r}: {p.reason}",
        )
        for p in labelled.problems
    ]
    for clip in labelled.clips:
        location = f"{labels_csv}, line {clip.line}"
        if not clip.path.is_file():
            reason = f"no file {clip.path}; put it there, or give its folder as --audio-dir"
            collected.problems.append(Problem(location, "missing_file", reason))
            continue
        collected.add(
            Annotation(
                location,
                clip.path,
                clip.label,
                clip.start_seconds,
                clip.end_seconds,
                clip.speaker,
                clip.split,
                provenance[clip.line],
            )
        )
    return collected


def _read_provenance(labels_csv: Path) -> tuple[dict[int, Provenance], list[str]]:
    """By line where its label is from; and a note of columns that nobody here keeps."""
    header, rows = read_rows(labels_csv)
    names = [name.strip().lower() for name in header]
    known = {name for accepted in COLUMN_NAMES.values() for name in accepted} | set(
        PROVENANCE_COLUMNS
    )
    unknown_columns = [
        name for name in header if name.strip() and name.strip().lower() not in known
    ]
    notes = (
        [f"{labels_csv}: columns left out: {', '.join(unknown_columns)}"] if unknown_columns else []
    )
    provenance = {}
    for line, cells in rows:
        values = dict(zip(names, cells, strict=False))
        texts = [printable_text(values.get(name, "")) for name in PROVENANCE_COLUMNS]
        texts[0] = texts[0] or f"csv:{labels_csv.name}"
        provenance[line] = Provenance(*texts)
    return provenance, notes


def write_table(annotations: Sequence[Annotation], out: Path, *, replace: bool = False) -> None:
    """Write a labels CSV, whole or not at all; recordings below its folder are named from there.

    Raises:
        AnnotationError: a name that a CSV cannot hold.
        OutputError: the file is there, and not to be replaced; or it cannot be written.
    """
    require_new_output(out, replace=replace)
    with staged_file(out) as staging:
        write_rows(annotations, staging, out.resolve().parent)


def write_rows(annotations: Sequence[Annotation], file: Path, folder: Path) -> None:
    """Write a labels CSV to be read as one of ``folder``."""
    columns = ["filename", "label"]
    columns += ["speaker"] if any(a.speaker for a in annotations) else []
    columns += ["split"] if any(a.split for a in annotations) else []
    columns += ["start", "end"] if any(not a.is_whole_recording for a in annotations) else []
    with file.open("w", encoding="utf-8", newline="") as opened:
        # Line ends of the RFC, so that a carriage return in a name is quoted.
        writer = csv.writer(opened, lineterminator="\r\n")
        writer.writerow([*columns, *PROVENANCE_COLUMNS])
        for annotation in annotations:
            values = _values(annotation, folder)
            writer.writerow([values[name] for name in (*columns, *PROVENANCE_COLUMNS)])


def _values(annotation: Annotation, folder: Path) -> dict[str, str]:
    return {
        "filename": _name(annotation, folder),
        "label": annotation.label,
        "speaker": annotation.speaker,
        "split": annotation.split,
        "start": format_seconds(annotation.start_seconds),
        "end": format_seconds(annotation.end_seconds),
        **vars(annotation.provenance),
    }


def _name(annotation: Annotation, folder: Path) -> str:
    path = absolute_path(annotation.path)
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    if name != name.strip():
        raise AnnotationError(
            f"{annotation.location}: {name!r} begins or ends with a space, which a CSV loses; "
            "rename it"
        )
    return name


def require_new_output(out: Path, *, replace: bool) -> None:
    """See that nothing is replaced that is not to be.

    Raises:
        OutputError: something is there.
    """
    if out.exists() and not replace and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out} is there already; give another name, or --replace")


def require_distinct_output(out: Path, sources: Sequence[Path]) -> None:
    """See that what is read is not written over.

    Raises:
        OutputError: ``out`` is one of the sources.
    """
    if out.resolve() in {source.resolve() for source in sources}:
        raise OutputError(f"{out} is one of the inputs; give another name")
