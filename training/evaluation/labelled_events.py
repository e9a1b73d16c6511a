"""Reads the true events of recordings: a labels CSV, or Audacity label tracks.

In a CSV each row is an event of the recording that it names. A row without label, start and end
names a recording in which there is nothing to find, as an empty label track does.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from earful.data.annotations.audacity import SUFFIX, looks_like_track, read_tracks
from earful.data.annotations.tracks import AudioFolder, text_lines
from earful.data.errors import EarfulError, did_you_mean_path
from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.labels_csv import stream_rows
from earful.data.labels.text_file import LabelsError
from earful.data.labels.wrong_path import describe_own_folder, describe_wrong_path
from earful.training.evaluation.event_metrics import SoundEvent


class EventsError(EarfulError):
    """Labelled events that cannot be used."""


@dataclass(frozen=True)
class TrueEvent:
    """A labelled event, and its line in the CSV; 0 in a label track."""

    event: SoundEvent
    line: int = 0


@dataclass(frozen=True)
class LabelledRecording:
    """A recording with its true events; ``filename`` as the labels name it."""

    filename: str
    path: Path
    events: tuple[TrueEvent, ...]


@dataclass(frozen=True)
class LabelledRecordings:
    """All recordings in the order of the labels, and the labels that cannot be used."""

    recordings: tuple[LabelledRecording, ...]
    failed: tuple[ClipProblem, ...]


# A recording's name and path, and an event in it; None where there is nothing to find.
_Row = tuple[str, Path, TrueEvent | None]


def read_labelled_recordings(source: Path, options: CsvOptions = PLAIN_CSV) -> LabelledRecordings:
    """Read a labels CSV, a label track, or all label tracks in a folder.

    Raises:
        EventsError: the source or the audio folder does not exist, or no event in it can be used.
        LabelsError: a CSV cannot be read.
        AnnotationError: a label track cannot be read.
    """
    if not source.exists():
        raise EventsError(
            f"there is no {source}{did_you_mean_path(source)}; events are a labels CSV with start "
            "and end, or an Audacity label track"
        )
    audio_dir = options.audio_dir
    if audio_dir is not None and not audio_dir.is_dir():
        raise EventsError(
            f"{audio_dir} is not a folder{did_you_mean_path(audio_dir)}; give the folder of the "
            "recordings as --audio-dir"
        )
    failed: list[ClipProblem] = []
    rows = _track_rows if source.is_dir() or _is_track(source) else _csv_rows
    events: dict[str, list[TrueEvent]] = {}
    files: dict[str, tuple[str, Path]] = {}
    for filename, path, event in rows(source, options, failed):
        key = os.path.realpath(path)
        files.setdefault(key, (filename, path))
        events.setdefault(key, []).extend([] if event is None else [event])
    if not files:
        first = f"; the first problem: {failed[0]}" if failed else ""
        raise EventsError(f"{source} has no event that can be used{first}")
    recordings = tuple(LabelledRecording(*files[key], tuple(events[key])) for key in files)
    return LabelledRecordings(recordings, tuple(failed))


def is_label_track(source: Path) -> bool:
    """Whether a file is an Audacity label track with events."""
    return source.suffix.lower() == SUFFIX and looks_like_track(_first_line(source))


def _first_line(source: Path) -> str:
    return next((line for line in text_lines(source) if line.strip()), "")


def _is_track(source: Path) -> bool:
    if source.suffix.lower() != SUFFIX:
        return False
    if _first_line(source) and not is_label_track(source):
        raise EventsError(
            f"{source} is no Audacity label track: its lines have start, end (seconds) and label "
            "with tabs between them; a labels CSV ends in .csv"
        )
    return True


def _track_rows(source: Path, options: CsvOptions, failed: list[ClipProblem]) -> Iterator[_Row]:
    own_folder = describe_own_folder(source) if source.is_dir() else ""
    if own_folder:
        raise EventsError(own_folder)
    tracks = read_tracks(source, options.audio_dir)
    audio = AudioFolder(source, options.audio_dir)
    for annotation in tracks.annotations:
        start, end = annotation.start_seconds or 0.0, annotation.end_seconds or 0.0
        event = TrueEvent(SoundEvent(start, end, annotation.label))
        yield annotation.path.name, annotation.path, event
    for skipped in tracks.skipped:
        if skipped.code != "no_events":
            failed.append(skipped)
            continue
        path = audio.find_for_track(Path(skipped.filename), SUFFIX)
        if isinstance(path, ClipProblem):
            failed.append(path)
        else:
            yield path.name, path, None
    failed += tracks.problems


def _csv_rows(source: Path, options: CsvOptions, failed: list[ClipProblem]) -> Iterator[_Row]:
    found_instead = describe_wrong_path(source)
    if found_instead:
        raise LabelsError(found_instead)
    for row in stream_rows(source, options):
        problem = row if isinstance(row, ClipProblem) else _find_problem(row)
        if problem is not None:
            failed.append(problem)
        elif isinstance(row, Clip):
            yield row.filename, row.path, _true_event(row)


def _find_problem(row: Clip) -> ClipProblem | None:
    """Why a row is neither an event nor a recording without any; None if it is one of them."""
    has_times = row.start_seconds is not None
    if bool(row.label) == has_times:
        return None
    reason = "an event has a label, a start and an end; a recording without events has none of them"
    column = "label" if has_times else "start"
    return ClipProblem.of_row(row.line, row.filename, column, "", reason)


def _true_event(row: Clip) -> TrueEvent | None:
    if row.start_seconds is None or row.end_seconds is None:
        return None
    return TrueEvent(SoundEvent(row.start_seconds, row.end_seconds, row.label), row.line)
