"""Labelled clips from a labels CSV, a folder, file names or a public dataset: the one way in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from earful.data.annotations.annotation import AnnotationSet
from earful.data.annotations.folder_files import list_files, name_files
from earful.data.annotations.folders import FORMAT as FOLDERS
from earful.data.annotations.folders import read_folders
from earful.data.annotations.patterns import read_pattern
from earful.data.annotations.read_sources import detect_format
from earful.data.datasets.recognise import read_recognised, recognise
from earful.data.errors import command, did_you_mean_path
from earful.data.labels.clip import ClipProblem, LabelledClips, Provenance
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.text_file import LabelsError
from earful.data.labels.wrong_path import describe_own_folder, describe_wrong_path

_LABELS_CSV = "labels.csv"


def read_labelled_clips(
    source: Path, options: CsvOptions = PLAIN_CSV, pattern: str = ""
) -> LabelledClips:
    """The clips of a labels CSV, a folder or a public dataset that is known by its layout.

    A folder has a folder of recordings for each label, or for each split with a folder for each
    label inside; with ``pattern`` labels are in its file names (``data.annotations.patterns``).

    Raises:
        LabelsError: the CSV cannot be read, or the folder holds something else.
        AnnotationError: the folders are no labels, or the pattern cannot be used.
    """
    if source.is_dir():
        found_instead = describe_own_folder(source)
        if found_instead or (not pattern and (source / _LABELS_CSV).is_file()):
            raise LabelsError(found_instead or describe_wrong_path(source))
    if pattern:
        return _read_pattern(source, options, pattern)
    recognised = recognise(source, options)
    if source.is_dir() and options.audio_dir is not None:
        raise LabelsError(f"--audio-dir is for a labels CSV; {source} is a folder")
    if recognised is not None:
        labelled = read_recognised(recognised, options)
        return replace(labelled, notes=(*labelled.notes, *_outside_notes(source, recognised.root)))
    if not source.is_dir():
        return read_labels(source, options)
    if options.columns:
        raise LabelsError(
            f"--columns names columns of a labels CSV; {source} is a folder, whose labels are the "
            "folders' names"
        )
    return _read_folders(source)


def _outside_notes(source: Path, root: Path) -> list[str]:
    """A note on recordings of the folder that are beside a dataset below it."""
    if source == root or not root.is_relative_to(source):
        return []
    outside = [path for path in list_files(source).recordings if not path.is_relative_to(root)]
    if not outside:
        return []
    names = name_files(outside, source)
    return [f"recordings outside {root} are not read ({len(outside)}): {names}"]


def read_known_annotations(source: Path) -> AnnotationSet | None:
    """The labels of a public dataset, to import; None if its layout is not known.

    Raises:
        LabelsError: it cannot be read.
    """
    if not source.is_dir() or describe_own_folder(source):
        return None
    recognised = recognise(source, PLAIN_CSV)
    if recognised is None:
        return None
    labelled = read_recognised(recognised, PLAIN_CSV)
    collected = AnnotationSet(notes=list(labelled.notes))
    collected.problems = [
        replace(problem, line=0, message=f"line {problem.line}, {problem.message}")
        for problem in labelled.problems
    ]
    provenance = Provenance(f"dataset:{recognised.dataset.name}")
    for clip in labelled.clips:
        collected.add(replace(clip, line=0, filename=str(clip.path), provenance=provenance))
    return collected


def _read_pattern(source: Path, options: CsvOptions, pattern: str) -> LabelledClips:
    if options.audio_dir is not None or options.columns:
        raise LabelsError(
            "--pattern reads labels from the file names of a folder; leave --audio-dir and "
            "--columns out"
        )
    if not source.is_dir():
        hint = "" if source.exists() else did_you_mean_path(source)
        raise LabelsError(f"--pattern is for a folder of recordings, found {source}{hint}")
    collected = read_pattern(source, pattern)
    if not collected.annotations and not collected.problems:
        raise LabelsError(describe_wrong_path(source) or f"{source} holds no recording")
    return _labelled(source, collected)


def _read_folders(source: Path) -> LabelledClips:
    """One clip per recording; its label is a folder that holds it."""
    files = list_files(source)
    if not files.recordings and files.notes():
        raise LabelsError(f"{source} holds no recording; {'; '.join(files.notes())}")
    import_command = command("labels", "import", source, "--out", _LABELS_CSV)
    advice = f"{import_command} reads other layouts"
    file_format = detect_format(source)
    if file_format != FOLDERS:
        raise LabelsError(f"{source} holds labels of another tool ({file_format}); {advice}")
    collected = read_folders(source, several_labels=True)
    loose = [problem for problem in collected.skipped if problem.code == "no_folder"]
    if loose:
        raise LabelsError(
            f"{len(loose)} recordings lie in {source} itself, in no folder of a label (the first: "
            f"{loose[0].location}); move them to one, or {advice}"
        )
    return _labelled(source, collected)


def _labelled(source: Path, collected: AnnotationSet) -> LabelledClips:
    clips = [
        replace(clip, filename=clip.path.relative_to(source).as_posix())
        for clip in collected.annotations
    ]
    problems = [
        ClipProblem.of_row(0, p.filename, "filename", Path(p.filename).name, p.message)
        for p in collected.problems
    ]
    notes = [*collected.notes, *_other_files(source, collected.skipped)]
    return LabelledClips.of_clips(clips, problems, notes)


def _other_files(source: Path, skipped: Sequence[ClipProblem]) -> list[str]:
    """A note on files that are no recordings by their suffix."""
    paths = [Path(item.location) for item in skipped if item.code == "not_audio"]
    if not paths:
        return []
    count = "1 file is no recording" if len(paths) == 1 else f"{len(paths)} files are no recordings"
    return [f"{count} by the suffix and not read: {name_files(paths, source)}"]
