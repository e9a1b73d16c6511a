"""Several labels CSVs to one: what sounds the same is one clip, whatever its name and place."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from earful.data.annotations.annotation import Annotation, Found, Problem
from earful.data.annotations.choices import Rule
from earful.data.annotations.conflicts import refuse_disputes, resolve
from earful.data.annotations.table import read_table
from earful.data.audio.decode import AudioError, decode, read_file
from earful.data.audio.fingerprint import audio_hash

# One rate for all, so that a copy has the same name; high enough to keep speech apart.
_RATE_HZ = 16_000
_SAME_SECONDS = 0.001

Key = tuple[str, float | None, float | None]


def merge_tables(
    tables: Sequence[Path],
    audio_dir: Path | None,
    rule: Rule,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """The rows of all tables, each sound once; the rule decides where labels differ.

    Raises:
        LabelsError: a CSV that cannot be used.
        AnnotationError: disagreements under ``error``.
    """
    found = Found()
    for table in tables:
        found.extend(read_table(table, audio_dir))
    keys = _Keys()
    usable: list[Annotation] = []
    named: dict[int, Key] = {}
    for done, annotation in enumerate(found.annotations, 1):
        key = keys.of(annotation)
        if isinstance(key, AudioError):
            found.problems.append(Problem(annotation.where, key.code, str(key)))
        else:
            named[id(annotation)] = key
            usable.append(annotation)
        progress(done, len(found.annotations))
    resolved = resolve(usable, lambda annotation: named[id(annotation)], rule)
    refuse_disputes(resolved.disputed)
    found.notes += _of_two_splits(usable, named)
    found.annotations = resolved.kept
    found.lost, found.repeated = resolved.lost, resolved.repeated
    return found


class _Keys:
    """What a stretch sounds like: the sound of its file, and its times inside."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, float] | AudioError] = {}

    def of(self, annotation: Annotation) -> Key | AudioError:
        path = os.path.realpath(annotation.path)
        if path not in self._files:
            self._files[path] = _heard(Path(path))
        heard = self._files[path]
        if isinstance(heard, AudioError):
            return heard
        name, seconds = heard
        start, end = annotation.start_seconds, annotation.end_seconds
        if start is not None and end is not None and start <= _SAME_SECONDS <= end:
            whole = end >= seconds - _SAME_SECONDS
            start, end = (None, None) if whole else (start, end)
        return name, start, end


def _heard(path: Path) -> tuple[str, float] | AudioError:
    try:
        decoded = decode(read_file(path), _RATE_HZ)
    except AudioError as error:
        return error
    return audio_hash(decoded.waveform), decoded.seconds


def _of_two_splits(annotations: Sequence[Annotation], named: dict[int, Key]) -> list[str]:
    """Notes of sounds that are in two parts of the data: what was tested was trained on."""
    first: dict[Key, Annotation] = {}
    notes = []
    for annotation in annotations:
        if not annotation.split:
            continue
        other = first.setdefault(named[id(annotation)], annotation)
        if other.split != annotation.split:
            notes.append(
                f"the same sound is in two splits: {other.where} ({other.split}) and "
                f"{annotation.where} ({annotation.split})"
            )
    return notes
