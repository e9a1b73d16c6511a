"""The labels CSV with provenance: the columns of ``data.labels.labels_csv`` and four more.

    source, annotator, annotated_at, annotation_id

Labels and file names are written verbatim, even if they look like a spreadsheet formula: the CSV is
read by programs.
"""

import dataclasses
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from earful.data.annotations.annotation import (
    AnnotationError,
    AnnotationSet,
    absolute_path,
    format_seconds,
)
from earful.data.atomic_write import OutputError, staged_file
from earful.data.labels.clip import PROVENANCE_COLUMNS, Clip
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.text.formula_cells import write_csv


def read_table(labels_csv: Path, options: CsvOptions = PLAIN_CSV) -> AnnotationSet:
    """Read a labels CSV; rows without a source have this file as their source.

    Raises:
        LabelsError: the CSV itself cannot be used.
    """
    labelled = read_labels(labels_csv, options)
    collected = AnnotationSet(notes=[f"{labels_csv}: {note}" for note in labelled.notes])
    if labelled.unread_columns:
        names = ", ".join(labelled.unread_columns)
        collected.notes.append(f"{labels_csv}: ignored columns: {names}")
    collected.problems = [
        dataclasses.replace(problem, line=0, filename=f"{labels_csv}, line {problem.line}")
        for problem in labelled.problems
    ]
    for clip in labelled.clips:
        place = f"{labels_csv}, line {clip.line}"
        source = clip.provenance.source or f"csv:{labels_csv.name}"
        provenance = dataclasses.replace(clip.provenance, source=source)
        row = dataclasses.replace(clip, line=0, filename=place, provenance=provenance)
        if clip.path.is_file():
            collected.add(row)
        else:
            reason = f"no file {clip.path}; put it there, or give its folder as --audio-dir"
            collected.problems.append(row.problem("missing_file", reason))
    return collected


def write_table(
    annotations: Sequence[Clip], out: Path, *, replace: bool = False, mark: bool = True
) -> None:
    """Write a labels CSV atomically; recordings below its folder have relative paths.

    ``mark`` puts an apostrophe before cells that a spreadsheet would run as formulas.

    Raises:
        AnnotationError: a file name cannot be written to a CSV.
        OutputError: the file exists and ``replace`` is off, or it cannot be written.
    """
    require_new_output(out, replace=replace)
    with staged_file(out) as staging:
        write_rows(annotations, staging, out.resolve().parent, mark=mark)


def write_rows(annotations: Sequence[Clip], file: Path, folder: Path, *, mark: bool = True) -> None:
    """Write a labels CSV with paths relative to ``folder``."""
    columns = ["filename", "label"]
    columns += ["speaker"] if any(a.speaker for a in annotations) else []
    columns += ["split"] if any(a.split for a in annotations) else []
    columns += ["fold"] if any(a.fold for a in annotations) else []
    columns += ["start", "end"] if any(not a.is_whole_recording for a in annotations) else []
    columns += PROVENANCE_COLUMNS
    values = (_values(annotation, folder) for annotation in annotations)
    write_csv(file, columns, map(itemgetter(*columns), values), mark=mark)


def _values(annotation: Clip, folder: Path) -> dict[str, str]:
    return {
        "filename": _name(annotation, folder),
        "label": annotation.label,
        "speaker": annotation.speaker,
        "split": annotation.split,
        "fold": annotation.fold,
        "start": format_seconds(annotation.start_seconds),
        "end": format_seconds(annotation.end_seconds),
        **vars(annotation.provenance),
    }


def _name(annotation: Clip, folder: Path) -> str:
    path = absolute_path(annotation.path)
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    if name != name.strip():
        raise AnnotationError(
            f"{annotation.location}: {name!r} begins or ends with a space, which a CSV loses; "
            "rename it"
        )
    return name


def require_new_output(out: Path, *, replace: bool) -> None:
    """Check that ``out`` does not exist, is an empty folder, or may be replaced.

    Raises:
        OutputError: it exists and ``replace`` is off.
    """
    if out.exists() and not replace and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out} already exists; give another name, or --replace")


def require_distinct_output(out: Path, sources: Sequence[Path]) -> None:
    """Check that no source is overwritten.

    Raises:
        OutputError: ``out`` is one of the sources.
    """
    if out.resolve() in {source.resolve() for source in sources}:
        raise OutputError(f"{out} is one of the inputs; give another name")
