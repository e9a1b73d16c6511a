"""Merge labels CSVs; clips with identical audio are one clip, whatever their file names."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from earful.data.annotations.annotation import AnnotationSet
from earful.data.annotations.choices import ConflictRule
from earful.data.annotations.conflicts import resolve
from earful.data.annotations.table import read_table
from earful.data.audio.decode import AudioError, decode, read_file
from earful.data.audio.fingerprint import audio_hash
from earful.data.labels.clip import Clip
from earful.data.labels.csv_options import CsvOptions

# One rate for all files, so that copies have equal hashes; high enough to distinguish speech.
_RATE_HZ = 16_000
_TOLERANCE_SECONDS = 0.001

AudioKey = tuple[str, float | None, float | None]


def merge_tables(
    tables: Sequence[Path],
    options: CsvOptions,
    rule: ConflictRule,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AnnotationSet:
    """The rows of all tables, each audio once; the rule resolves conflicting labels.

    ``progress`` is called with (rows done, total).

    Raises:
        LabelsError: a CSV cannot be used.
        AnnotationError: conflicts under ``error``.
    """
    collected = AnnotationSet()
    for table in tables:
        collected.extend(read_table(table, options))
    keys = _AudioKeys()
    usable: list[Clip] = []
    key_by_id: dict[int, AudioKey] = {}
    for done, annotation in enumerate(collected.annotations, 1):
        key = keys.key_of(annotation)
        if isinstance(key, AudioError):
            collected.problems.append(annotation.problem(key.code, str(key)))
        else:
            key_by_id[id(annotation)] = key
            usable.append(annotation)
        progress(done, len(collected.annotations))
    resolve(collected, usable, lambda annotation: key_by_id[id(annotation)], rule)
    collected.notes += _cross_split_notes(usable, key_by_id)
    return collected


class _AudioKeys:
    """Keys of clips by their audio: the hash of the file, and the times inside it."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, float] | AudioError] = {}

    def key_of(self, annotation: Clip) -> AudioKey | AudioError:
        path = os.path.realpath(annotation.path)
        if path not in self._files:
            self._files[path] = _fingerprint(Path(path))
        fingerprint = self._files[path]
        if isinstance(fingerprint, AudioError):
            return fingerprint
        file_hash, seconds = fingerprint
        start, end = annotation.start_seconds, annotation.end_seconds
        if start is not None and end is not None and start <= _TOLERANCE_SECONDS <= end:
            covers_file = end >= seconds - _TOLERANCE_SECONDS
            start, end = (None, None) if covers_file else (start, end)
        return file_hash, start, end


def _fingerprint(path: Path) -> tuple[str, float] | AudioError:
    try:
        decoded = decode(read_file(path), _RATE_HZ)
    except AudioError as error:
        return error
    return audio_hash(decoded.waveform), decoded.seconds


def _cross_split_notes(annotations: Sequence[Clip], key_by_id: dict[int, AudioKey]) -> list[str]:
    """Notes on audio that is in two splits, such as training and test."""
    first: dict[AudioKey, Clip] = {}
    notes = []
    for annotation in annotations:
        if not annotation.split:
            continue
        other = first.setdefault(key_by_id[id(annotation)], annotation)
        if other.split != annotation.split:
            notes.append(
                f"the same audio is in two splits: {other.location} ({other.split}) and "
                f"{annotation.location} ({annotation.split})"
            )
    return notes
