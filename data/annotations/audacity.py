"""Audacity label tracks: lines of start, end and label between tabs, in seconds, no header.

Source: the Audacity manual, "Importing and Exporting Labels". A line that begins with a backslash
is the frequency range of the one before.
"""

import math
from pathlib import Path

from earful.data.annotations.annotation import Annotation, Found, Problem, Provenance, seconds_of
from earful.data.annotations.tracks import AudioFolder, one_line, text_lines, track_files

SUFFIX = ".txt"
FORMAT = "audacity"


def track_line(start_seconds: float, end_seconds: float, label: str) -> str:
    """A label of a track."""
    return f"{start_seconds:.6f}\t{end_seconds:.6f}\t{one_line(label)}\n"


def looks_like_track(first_line: str) -> bool:
    """Whether a file's first line is one of a label track."""
    cells = first_line.split("\t")
    numbers = [seconds_of(cell) for cell in cells[:2]]
    return len(cells) in (2, 3) and len(numbers) == 2 and not any(map(math.isnan, numbers))


def read_tracks(source: Path, audio_dir: Path | None) -> Found:
    """The labels of a track, or of all tracks of a folder.

    Raises:
        AnnotationError: a track that cannot be read.
    """
    found = Found()
    audio = AudioFolder(source, audio_dir)
    for track in track_files(source, SUFFIX):
        lines = text_lines(track)
        path = audio.of_track(track, SUFFIX)
        if isinstance(path, Problem):
            found.problems.append(path)
        elif not any(line.strip() for line in lines):
            found.skipped.append(Problem(str(track), "no_events", "a track without labels"))
        else:
            _read_lines(track, lines, path, found)
    return found


def _read_lines(track: Path, lines: list[str], path: Path, found: Found) -> None:
    source = f"{FORMAT}:{track.name}"
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, label = [*line.split("\t", 2), "", ""][:3]
        where = f"{track}, line {number}"
        if not label.strip():
            found.skipped.append(Problem(where, "unlabelled", "a stretch without a label"))
            continue
        times = seconds_of(start), seconds_of(end)
        found.add(Annotation(where, path, label, *times, provenance=Provenance(source)))
