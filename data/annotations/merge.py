"""Several labels CSVs to one: what sounds the same is one clip, whatever its name and place."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from earful.data.annotations.annotation import Annotation, AnnotationSet, Problem
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.conflicts import raise_on_conflicts, resolve
from earful.data.annotations.table import read_table
from earful.data.audio.decode import AudioError, decode, read_file
from earful.data.audio.fingerprint import audio_hash

# One rate for all, so that a copy has the same name; high enough to keep speech apart.
_RATE_HZ = 16_000
_TOLERANCE_SECONDS = 0.001

SoundKey = tuple[str, float | None, float | None]


def merge_tables(
    tables: Sequence[Path],
    audio_dir: Path | None,
    rule: ConflictRule,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AnnotationSet:
    """The rows of all tables, each sound once; the rule decides where labels differ.

    Raises:
        LabelsError: a CSV that cannot be used.
        AnnotationError: disagreements under ``error``.
    """
    collected = AnnotationSet()
    for table in tables:
        collected.extend(read_table(table, audio_dir))
    keys = _SoundKeys()
    usable: list[Annotation] = []
    key_by_id: dict[int, SoundKey] = {}
    for done, annotation in enumerate(collected.annotations, 1):
        key = keys.key_of(annotation)
        if isinstance(key, AudioError):
            collected.problems.append(Problem(annotation.location, key.code, str(key)))
        else:
            key_by_id[id(annotation)] = key
            usable.append(annotation)
        progress(done, len(collected.annotations))
    resolved = resolve(usable, lambda annotation: key_by_id[id(annotation)], rule)
    raise_on_conflicts(resolved.conflicting)
    collected.notes += _cross_split_notes(usable, key_by_id)
    collected.annotations = resolved.kept
    collected.superseded, collected.duplicates = resolved.superseded, resolved.duplicates
    return collected


class _SoundKeys:
    """What a stretch sounds like: the sound of its file, and its times inside."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, float] | AudioError] = {}

    def key_of(self, annotation: Annotation) -> SoundKey | AudioError:
        path = os.path.realpath(annotation.path)
        if path not in self._files:
            self._files[path] = _fingerprint(Path(path))
        fingerprint = self._files[path]
        if isinstance(fingerprint, AudioError):
            return fingerprint
        name, seconds = fingerprint
        start, end = annotation.start_seconds, annotation.end_seconds
        if start is not None and end is not None and start <= _TOLERANCE_SECONDS <= end:
            covers_file = end >= seconds - _TOLERANCE_SECONDS
            start, end = (None, None) if covers_file else (start, end)
        return name, start, end


def _fingerprint(path: Path) -> tuple[str, float] | AudioError:
    try:
        decoded = decode(read_file(path), _RATE_HZ)
    except AudioError as error:
        return error
    return audio_hash(decoded.waveform), decoded.seconds


def _cross_split_notes(
    annotations: Sequence[Annotation], key_by_id: dict[int, SoundKey]
) -> list[str]:
    """Notes of sounds that are in two parts of the data: what was tested was trained on."""
    first: dict[SoundKey, Annotation] = {}
    notes = []
    for annotation in annotations:
        if not annotation.split:
            continue
        other = first.setdefault(key_by_id[id(annotation)], annotation)
        if other.split != annotation.split:
            notes.append(
                f"the same sound is in two splits: {other.location} ({other.split}) and "
                f"{annotation.location} ({annotation.split})"
            )
    return notes
