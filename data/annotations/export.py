"""Export labels in the format of another tool."""

import glob
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from earful.data.annotations import audacity, folders, raven
from earful.data.annotations import label_studio_export as studio
from earful.data.annotations.annotation import AnnotationError, AnnotationSet, absolute_path
from earful.data.annotations.choices import ExportFormat
from earful.data.annotations.folder_files import is_audio
from earful.data.annotations.folders import INDEX_FILENAME
from earful.data.annotations.summary import raise_on_problems
from earful.data.annotations.table import require_new_output, write_rows
from earful.data.annotations.tracks import track_path
from earful.data.atomic_write import staged_file, staged_folder
from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.audio.decode import AudioError
from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.multilabel import has_multiple_labels

TRACK_FORMATS = ("audacity", "raven")


def export_labels(
    collected: AnnotationSet,
    file_format: ExportFormat,
    out: Path,
    *,
    folder: Path,
    replace_out: bool = False,
    skip_bad: bool = False,
    as_predictions: bool = False,
    hard_links: bool = False,
) -> AnnotationSet:
    """Write the annotations to ``out``; returns those written, and the problems of the others.

    ``folder`` is the folder that Label Studio serves. ``as_predictions`` writes Label Studio
    predictions instead of annotations; ``hard_links`` links audio files instead of copying them.

    Raises:
        AnnotationError: labels that the format cannot express, unless ``skip_bad``.
        OutputError: ``out`` exists and is not replaced, or cannot be written.
    """
    require_new_output(out, replace=replace_out)
    if file_format in TRACK_FORMATS:
        return _export_tracks(collected, file_format, out, skip_bad=skip_bad)
    if file_format == "folders":
        return _export_folders(collected, out, skip_bad=skip_bad, hard_links=hard_links)
    served = studio.keep_served(collected, folder)
    raise_on_problems(served, skip_bad=skip_bad)
    with staged_file(out) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        _write_studio(served.annotations, file_format, folder, file, out.suffix, as_predictions)
    return served


def _write_studio(
    annotations: Sequence[Clip],
    file_format: ExportFormat,
    folder: Path,
    file: TextIO,
    suffix: str,
    as_predictions: bool,
) -> None:
    if file_format == "label-studio":
        studio.write_tasks(annotations, folder, file, as_predictions=as_predictions)
    elif file_format == "label-studio-min":
        studio.write_min(annotations, folder, file)
    else:
        studio.write_csv(annotations, folder, file, "\t" if suffix.lower() == ".tsv" else ",")


def common_folder(annotations: Sequence[Clip]) -> Path:
    """The deepest folder that contains all recordings."""
    return Path(os.path.commonpath([absolute_path(a.path).parent for a in annotations]))


def _export_tracks(
    collected: AnnotationSet, file_format: str, out: Path, *, skip_bad: bool
) -> AnnotationSet:
    """One label track or table per recording, in the folder structure of the recordings."""
    by_path: dict[Path, list[Clip]] = {}
    for annotation in collected.annotations:
        by_path.setdefault(absolute_path(annotation.path), []).append(annotation)
    timed = AnnotationSet(problems=collected.problems, notes=collected.notes)
    durations_and_rates: dict[Path, tuple[float, int]] = {}
    for path, annotations in by_path.items():
        try:
            durations_and_rates[path] = read_duration_and_rate(path)
            timed.annotations += annotations
        except AudioError as error:
            timed.problems += [a.audio_problem(error) for a in annotations]
    raise_on_problems(timed, skip_bad=skip_bad)
    base = common_folder(timed.annotations)
    is_raven = file_format == raven.FORMAT
    with staged_folder(out, INDEX_FILENAME) as staging:
        write_rows(timed.annotations, staging / INDEX_FILENAME, out.resolve())
        for path, (seconds, rate_hz) in durations_and_rates.items():
            suffix = raven.SUFFIX if is_raven else audacity.SUFFIX
            path_out = _track_path(staging, path, path.relative_to(base), suffix)
            with path_out.open("w", encoding="utf-8", newline="") as file:
                file.write(f"{raven.HEADER}\n" if is_raven else "")
                for number, clip in enumerate(by_path[path], 1):
                    start, end = clip.span or (0.0, seconds)
                    file.write(
                        raven.selection_line(
                            number, start, end, rate_hz / 2, str(path), [clip.label]
                        )
                        if is_raven
                        else audacity.track_line(start, end, clip.label)
                    )
    return timed


def _track_path(folder: Path, path: Path, relative: Path, suffix: str) -> Path:
    """A new path for the track of a recording, by its stem unless others have the same."""
    n_same_stem = sum(
        p.suffix.lower() in AUDIO_SUFFIXES for p in path.parent.glob(f"{glob.escape(path.stem)}.*")
    )
    path_out = track_path(folder, relative, suffix, by_stem=n_same_stem < 2)
    path_out.parent.mkdir(parents=True, exist_ok=True)
    return path_out


def _export_folders(
    collected: AnnotationSet, out: Path, *, skip_bad: bool, hard_links: bool
) -> AnnotationSet:
    """Copy or hard-link each recording into the folder of its label."""
    copyable = AnnotationSet(problems=collected.problems, notes=collected.notes)
    for annotation in collected.annotations:
        problem = _find_copy_problem(annotation)
        if problem is None:
            copyable.annotations.append(annotation)
        else:
            copyable.problems.append(problem)
    raise_on_problems(copyable, skip_bad=skip_bad)
    copy_or_link: Callable[[Path, Path], object] = os.link if hard_links else shutil.copyfile
    with staged_folder(out, INDEX_FILENAME) as staging:
        copies = []
        for name in {folders.folder_name(annotation.label) for annotation in copyable.annotations}:
            (staging / name).mkdir()  # fails if the file system treats two names as equal
        for annotation in copyable.annotations:
            folder = staging / folders.folder_name(annotation.label)
            path_out = _unique_path(folder, annotation.path.name)
            copy_or_link(annotation.path.resolve(), path_out)
            copies.append(replace(annotation, path=path_out))
        write_rows(copies, staging / INDEX_FILENAME, staging)
    return copyable


def _find_copy_problem(annotation: Clip) -> ClipProblem | None:
    if not annotation.is_whole_recording:
        reason = "is a segment; folders contain whole recordings only; export to audacity or raven"
        return annotation.problem("segment", reason)
    if has_multiple_labels(annotation.label):
        reason = (
            f"has several labels, {annotation.label!r}, and can be in one folder only; export to "
            "label-studio, audacity or raven"
        )
        return annotation.problem("multiple_labels", reason)
    if not is_audio(annotation.path):
        reason = f"{annotation.path.name!r} has no audio suffix and could not be imported again"
        return annotation.problem("not_audio", reason)
    try:
        folders.folder_name(annotation.label)
    except AnnotationError as error:
        return annotation.problem("bad_label", str(error))
    return None


def _unique_path(folder: Path, name: str) -> Path:
    """A path in the folder that does not exist yet; a number is added if needed."""
    path_out, number = folder / name, 1
    while path_out.exists():
        number += 1
        path_out = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path_out
