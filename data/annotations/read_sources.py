"""Read labels from files of any supported format, detected by content."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from earful.data.annotations import audacity, folders, patterns, raven
from earful.data.annotations import label_studio as studio
from earful.data.annotations import label_studio_flat as flat
from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.choices import ConflictRule, ImportFormat
from earful.data.annotations.conflicts import resolve
from earful.data.annotations.folder_files import is_audio, walk
from earful.data.annotations.json_files import read_objects
from earful.data.annotations.tracks import read_text
from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.decode import AudioError
from earful.data.errors import command, did_you_mean_path
from earful.data.labels.clip import Clip
from earful.data.labels.column_names import COLUMN_NAMES
from earful.data.labels.wrong_path import describe_own_folder, describe_wrong_path

IMPORT_FORMATS: tuple[ImportFormat, ...] = get_args(ImportFormat)
# A segment this much shorter than its recording is the whole: tracks round to microseconds.
_ROUNDING_SECONDS = 2e-6


@dataclass(frozen=True)
class ImportOptions:
    """Options for reading sources.

    file_format    None: detected from each source's content
    audio_dir      the folder of the recordings; None: that of each source
    pattern        a pattern of file names
    label_columns  the columns, fields or controls that are labels, if ambiguous
    rule           how to resolve conflicting labels
    read_known     reads a source of a layout that is known besides; None: it is not
    """

    file_format: ImportFormat | None = None
    audio_dir: Path | None = None
    pattern: str | None = None
    label_columns: tuple[str, ...] = ()
    rule: ConflictRule = "latest"
    read_known: Callable[[Path], AnnotationSet | None] = lambda source: None

    @property
    def is_plain(self) -> bool:
        """Whether nothing says how the sources are to be read."""
        return not (self.file_format or self.audio_dir or self.pattern or self.label_columns)


def read_sources(sources: Sequence[Path], options: ImportOptions) -> AnnotationSet:
    """The labels of all sources, each recording or segment once.

    Raises:
        AnnotationError: a source cannot be used; conflicts under ``error``.
    """
    if options.audio_dir is not None and not options.audio_dir.is_dir():
        hint = did_you_mean_path(options.audio_dir)
        raise AnnotationError(
            f"{options.audio_dir} is not a folder{hint}; give the folder of the audio"
        )
    collected = AnnotationSet()
    for source in sources:
        if not source.exists():
            hint = did_you_mean_path(source)
            raise AnnotationError(f"{source} does not exist{hint}; give a file or a folder")
        collected.extend(_read(source, options))
    resolve(collected, collected.annotations, _segment_key, options.rule)
    return collected


def _segment_key(annotation: Clip) -> tuple[str, float | None, float | None]:
    path = os.path.realpath(annotation.path)
    return path, annotation.start_seconds, annotation.end_seconds


def _read(source: Path, options: ImportOptions) -> AnnotationSet:
    known = options.read_known(source) if options.is_plain else None
    if known is not None:
        return known
    file_format = options.file_format or detect_format(source, options.pattern)
    audio_dir, columns = options.audio_dir, options.label_columns
    rule = options.rule
    readers: dict[ImportFormat, Callable[[], AnnotationSet]] = {
        "label-studio": lambda: studio.read_tasks(source, audio_dir, columns, rule),
        "label-studio-min": lambda: flat.read_min(source, audio_dir, columns, rule),
        "label-studio-csv": lambda: flat.read_csv(source, audio_dir, columns, rule),
        "audacity": lambda: _merge_full_length(audacity.read_tracks(source, audio_dir)),
        "raven": lambda: _merge_full_length(raven.read_tables(source, audio_dir, columns)),
        "folders": lambda: folders.read_folders(_folder(source)),
        "pattern": lambda: patterns.read_pattern(source, _pattern(options)),
    }
    return readers[file_format]()


def _merge_full_length(collected: AnnotationSet) -> AnnotationSet:
    """Make labels over a full recording labels of the recording; tracks have only segments."""
    lengths: dict[Path, float] = {}
    for position, annotation in enumerate(collected.annotations):
        if annotation.start_seconds == 0 and annotation.end_seconds is not None:
            path = annotation.path
            lengths[path] = lengths.get(path) or _length(path)
            if abs(annotation.end_seconds - lengths[path]) < _ROUNDING_SECONDS:
                collected.annotations[position] = replace(
                    annotation, start_seconds=None, end_seconds=None
                )
    return collected


def _length(path: Path) -> float:
    try:
        return read_duration_and_rate(path)[0]
    except AudioError:  # reported when the audio is used
        return float("inf")


def _folder(source: Path) -> Path:
    if not source.is_dir():
        raise AnnotationError(f"{source} is not a folder; give a folder with one folder per label")
    return source


def _pattern(options: ImportOptions) -> str:
    if options.pattern is None:
        raise AnnotationError(
            "give the pattern of the file names: --pattern '{label}_{speaker}_{n}.wav'"
        )
    return options.pattern


def detect_format(source: Path, pattern: str | None = None) -> ImportFormat:
    """Detect the format of a source from its content.

    Raises:
        AnnotationError: the format is ambiguous or unknown.
    """
    if pattern is not None:
        return "pattern"
    own_folder = describe_own_folder(source) if source.is_dir() else ""
    if own_folder:
        raise AnnotationError(own_folder)
    formats = _formats_in_folder(source) if source.is_dir() else _formats_of_file(source)
    found_instead = "" if formats else describe_wrong_path(source, importing=True)
    if found_instead:
        raise AnnotationError(found_instead)
    if len(formats) != 1:
        candidates = f" (it may be {' or '.join(sorted(formats))})" if formats else ""
        raise AnnotationError(
            f"the format of {source} is not clear{candidates}; give it as --format, one of "
            f"{', '.join(IMPORT_FORMATS)}"
        )
    return formats.pop()


def _formats_in_folder(source: Path) -> set[ImportFormat]:
    formats: set[ImportFormat] = set()
    unreadable: list[AnnotationError] = []
    for path in walk(source):
        suffix = path.suffix.lower()
        if suffix in (".json", ".txt"):
            try:
                formats |= _formats_of_file(path)
            except AnnotationError as error:
                unreadable.append(error)
        elif is_audio(path) and path.parent != source:
            formats.add("folders")
    if unreadable and not formats:
        raise unreadable[0]
    # Tracks are stored beside their recordings: then folder names are not labels.
    tracks = formats & {"audacity", "raven"}
    return tracks or formats


def _formats_of_file(source: Path) -> set[ImportFormat]:
    suffix = source.suffix.lower()
    if suffix == ".json":
        return _formats_of_json(source)
    if suffix not in (".txt", ".csv", ".tsv"):
        return set()
    first = read_text(source).lstrip("\n\r").partition("\n")[0].rstrip("\r")
    if suffix == ".txt":
        if raven.looks_like_table(first):
            return {"raven"}
        return {"audacity"} if audacity.looks_like_track(first) else set()
    names = {name.strip(' "') for name in first.replace("\t", ",").replace(";", ",").split(",")}
    if names & set(COLUMN_NAMES["filename"]) and names & set(COLUMN_NAMES["label"]):
        raise AnnotationError(
            f"{source} is already a labels CSV; check it: {command('check', source)}, or merge it: "
            f"{command('labels', 'merge', source, 'LABELS.csv', '--out', 'MERGED.csv')}"
        )
    return {"label-studio-csv"} if {"id", "annotation_id"} <= names else set()


def _formats_of_json(source: Path) -> set[ImportFormat]:
    """Formats of Label Studio; none for one object of another kind, such as an ``info.json``."""
    values = [value for _, value in read_objects(source)]
    kinds: set[ImportFormat] = {
        "label-studio" if _is_task(value) else "label-studio-min" for value in values
    }
    is_other = len(values) == 1 and not _is_task(values[0]) and "id" not in values[0]
    return set() if is_other else kinds


def _is_task(value: object) -> bool:
    return isinstance(value, dict) and (
        isinstance(value.get("data"), dict) or isinstance(value.get("task"), dict)
    )
