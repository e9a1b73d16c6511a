"""Audacity label tracks: tab-separated start, end (seconds) and label, without header.

Source: the Audacity manual, "Importing and Exporting Labels". A line that starts with a backslash
is the frequency range of the line before.
"""

import math
from pathlib import Path

from earful.data.annotations.annotation import AnnotationSet, parse_seconds
from earful.data.annotations.tracks import AudioFolder, one_line, text_lines, track_files
from earful.data.labels.clip import Clip, ClipProblem, Provenance

SUFFIX = ".txt"
FORMAT = "audacity"


def track_line(start_seconds: float, end_seconds: float, label: str) -> str:
    """One line of a label track."""
    return f"{start_seconds:.6f}\t{end_seconds:.6f}\t{one_line(label)}\n"


def looks_like_track(first_line: str) -> bool:
    """Whether a file with this first line is a label track."""
    cells = first_line.split("\t")
    numbers = [parse_seconds(cell) for cell in cells[:2]]
    return len(cells) in (2, 3) and len(numbers) == 2 and not any(map(math.isnan, numbers))


def read_tracks(source: Path, audio_dir: Path | None) -> AnnotationSet:
    """Read a label track, or all label tracks in a folder.

    Raises:
        AnnotationError: a track cannot be read.
    """
    collected = AnnotationSet()
    audio = AudioFolder(source, audio_dir)
    for track in track_files(source, SUFFIX):
        lines = text_lines(track)
        path = audio.find_for_track(track, SUFFIX)
        if isinstance(path, ClipProblem):
            collected.problems.append(path)
        elif not any(line.strip() for line in lines):
            collected.skip(str(track), "no_events", "a track without labels")
        else:
            _read_lines(track, lines, path, collected)
    collected.notes += audio.notes
    return collected


def _read_lines(track: Path, lines: list[str], path: Path, collected: AnnotationSet) -> None:
    source = f"{FORMAT}:{track.name}"
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, label = [*line.split("\t", 2), "", ""][:3]
        location = f"{track}, line {number}"
        if not label.strip():
            collected.skip(location, "unlabelled", "a segment without a label")
            continue
        times = parse_seconds(start), parse_seconds(end)
        clip = Clip(0, location, path, label, "", "", *times, provenance=Provenance(source))
        collected.add(clip)
