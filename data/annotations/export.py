"""``export_labels``: the rows of a labels CSV in the form of another tool."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO, get_args

from earful.data.annotations import audacity, folders, raven
from earful.data.annotations import label_studio_export as studio
from earful.data.annotations.annotation import Annotation, AnnotationError, Found, Problem, absolute
from earful.data.annotations.audio_length import length_and_rate
from earful.data.annotations.choices import ExportFormat
from earful.data.annotations.folders import INDEX
from earful.data.annotations.summary import refuse_problems
from earful.data.annotations.table import refuse_existing, write_rows
from earful.data.annotations.tracks import track_place
from earful.data.atomic_write import staged_file, staged_folder
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.audio.decode import AudioError
from earful.data.labels.multilabel import has_several

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
TRACKS = ("audacity", "raven")


def export_labels(
    found: Found,
    form: ExportFormat,
    out: Path,
    *,
    folder: Path,
    replace_out: bool = False,
    skip_bad: bool = False,
    as_predictions: bool = False,
    hard_links: bool = False,
) -> Found:
    """Write the annotations; returns them without those that the format cannot hold.

    ``folder`` is the one that Label Studio serves.

    Raises:
        AnnotationError: something cannot be written, unless it is to be left out.
        OutputError: ``out`` is taken, or cannot be written.
    """
    refuse_existing(out, replace=replace_out)
    if form in TRACKS:
        return _export_tracks(found, form, out, skip_bad=skip_bad)
    if form == "folders":
        return _export_folders(found, out, skip_bad=skip_bad, hard_links=hard_links)
    inside = studio.served_by(found, folder)
    refuse_problems(inside, skip_bad=skip_bad)
    with staged_file(out) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        _write_studio(inside.annotations, form, folder, file, out.suffix, as_predictions)
    return inside


def _write_studio(
    annotations: Sequence[Annotation], form: ExportFormat, folder: Path, file: TextIO,
    suffix: str, as_predictions: bool,
) -> None:  # fmt: skip
    if form == "label-studio":
        studio.write_tasks(annotations, folder, file, as_predictions=as_predictions)
    elif form == "label-studio-min":
        studio.write_min(annotations, folder, file)
    else:
        studio.write_csv(annotations, folder, file, "\t" if suffix.lower() == ".tsv" else ",")


def common_folder(annotations: Sequence[Annotation]) -> Path:
    """The deepest folder that all recordings lie in."""
    return Path(os.path.commonpath([absolute(a.path).parent for a in annotations]))


def _export_tracks(found: Found, form: str, out: Path, *, skip_bad: bool) -> Found:
    """A track or table for each recording, laid out as the recordings are."""
    by_path: dict[Path, list[Annotation]] = {}
    for annotation in found.annotations:
        by_path.setdefault(absolute(annotation.path), []).append(annotation)
    timed = Found(problems=found.problems, notes=found.notes)
    facts: dict[Path, tuple[float, int]] = {}
    for path, annotations in by_path.items():
        try:
            facts[path] = length_and_rate(path)
            timed.annotations += annotations
        except AudioError as error:
            timed.problems += [Problem(a.where, error.code, str(error)) for a in annotations]
    refuse_problems(timed, skip_bad=skip_bad)
    base = common_folder(timed.annotations)
    with staged_folder(out, INDEX) as staging:
        write_rows(timed.annotations, staging / INDEX, out.resolve())
        for path, (seconds, rate_hz) in facts.items():
            _write_track(staging, base, path, by_path[path], form, seconds, rate_hz)
    return timed


def _write_track(
    folder: Path, base: Path, path: Path, annotations: Sequence[Annotation], form: str,
    seconds: float, rate_hz: int,
) -> None:  # fmt: skip
    is_raven = form == raven.FORMAT
    suffix = raven.SUFFIX if is_raven else audacity.SUFFIX
    alone = sum(
        p.suffix.lower() in AUDIO_SUFFIXES for p in path.parent.glob(f"{_glob(path.stem)}.*")
    )
    relative = path.relative_to(base)
    place = track_place(folder, relative, suffix, by_stem=alone < 2)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{raven.HEADER}\n" if is_raven else "")
        for number, annotation in enumerate(annotations, 1):
            start = annotation.start_seconds or 0.0
            end = seconds if annotation.end_seconds is None else annotation.end_seconds
            if is_raven:
                name, label = str(path), annotation.label
                line = raven.selection_line(number, start, end, rate_hz / 2, name, [label])
            else:
                line = audacity.track_line(start, end, annotation.label)
            file.write(line)


def _glob(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _export_folders(found: Found, out: Path, *, skip_bad: bool, hard_links: bool) -> Found:
    """A copy or another name of each recording in the folder of its label."""
    whole = Found(problems=found.problems, notes=found.notes)
    for annotation in found.annotations:
        problem = _no_copy(annotation)
        if problem is None:
            whole.annotations.append(annotation)
        else:
            whole.problems.append(problem)
    refuse_problems(whole, skip_bad=skip_bad)
    put: Callable[[Path, Path], object] = _link if hard_links else shutil.copyfile
    with staged_folder(out, INDEX) as staging:
        copies = []
        for name in {folders.folder_name(annotation.label) for annotation in whole.annotations}:
            (staging / name).mkdir()  # fails where the file system takes two names for one
        for annotation in whole.annotations:
            folder = staging / folders.folder_name(annotation.label)
            place = _free_place(folder, annotation.path.name)
            put(annotation.path.resolve(), place)
            copies.append(replace(annotation, path=place))
        write_rows(copies, staging / INDEX, staging)
    return whole


def _no_copy(annotation: Annotation) -> Problem | None:
    if not annotation.whole:
        reason = (
            "is a stretch of a recording, and folders hold whole ones; export to audacity or raven"
        )
        return Problem(annotation.where, "stretch", reason)
    if has_several(annotation.label):
        reason = (
            f"has several labels, {annotation.label!r}, and lies in one folder; export to "
            "label-studio, audacity or raven"
        )
        return Problem(annotation.where, "several_labels", reason)
    if not folders.is_audio(annotation.path):
        reason = f"{annotation.path.name!r} would not be found again: it has no suffix of audio"
        return Problem(annotation.where, "not_audio", reason)
    try:
        folders.folder_name(annotation.label)
    except AnnotationError as error:
        return Problem(annotation.where, "bad_label", str(error))
    return None


def _link(path: Path, place: Path) -> None:
    place.hardlink_to(path)


def _free_place(folder: Path, name: str) -> Path:
    """A name of its own in the folder: those of other recordings are kept apart by a number."""
    place, number = folder / name, 1
    while place.exists():
        number += 1
        place = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return place
