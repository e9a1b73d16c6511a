"""Label tracks: one file per recording, in the folder structure of the recordings."""

import hashlib
import re
from itertools import chain, count
from pathlib import Path

from earful.data.annotations.annotation import AnnotationError
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.labels.clip import ClipProblem

# The name length, in bytes, that all common file systems support.
_MAX_NAME_BYTES = 255
_MAX_TEXT_BYTES = 1 << 28


def track_path(folder: Path, relative: Path, suffix: str, *, by_stem: bool = True) -> Path:
    """A new path for a recording's track; the caller creates its folders.

    Named after the recording's stem, or after its full name if that is taken or ``by_stem`` is off.
    """
    *folders, last = [
        _shorten_name(one_line(p)) for p in relative.parts if p not in ("/", "..", ".")
    ]
    path_out = folder
    for name in folders:
        path_out /= name
        while path_out.is_file():  # a track with the name of the folder
            path_out = path_out.with_name(f"{path_out.name}_")
    audio = path_out / last
    stems = [audio.stem] if by_stem else []
    names = chain([*stems, audio.name], (f"{audio.name}.{n}" for n in count(2)))
    paths = (audio.with_name(_shorten_name(name, suffix) + suffix) for name in names)
    return next(path for path in paths if not path.exists())


def one_line(text: str) -> str:
    """Text with tabs and line ends replaced by spaces."""
    return re.sub(r"[\t\n\r]", " ", text)


def _shorten_name(name: str, suffix: str = "") -> str:
    """A name that is valid with this suffix; a long one is truncated and ends in its hash."""
    max_bytes = _MAX_NAME_BYTES - len(suffix)
    if len(name.encode()) <= max_bytes:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name.encode()[: max_bytes - 13].decode(errors='ignore')}-{mark}"


def track_files(source: Path, suffix: str) -> list[Path]:
    """The file itself, or all files in a folder with the suffix, sorted by name.

    Raises:
        AnnotationError: there is none.
    """
    if not source.is_dir():
        return [source]
    files = sorted(path for path in source.rglob(f"*{suffix}") if path.is_file())
    if not files:
        raise AnnotationError(f"{source} contains no {suffix} file; give another folder")
    return files


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        AnnotationError: it is missing, too large or not UTF-8.
    """
    try:
        if not path.is_file():
            raise AnnotationError(f"{path} is not a file; give an existing file")
        if path.stat().st_size > _MAX_TEXT_BYTES:
            raise AnnotationError(f"{path} has more than {_MAX_TEXT_BYTES} bytes; split it")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AnnotationError(f"cannot read {path}: {reason}") from error


def text_lines(path: Path) -> list[str]:
    """The lines of a text file; split at line ends only, not at other Unicode separators.

    Raises:
        AnnotationError: as ``read_text``.
    """
    return re.split(r"\r\n|\r|\n", read_text(path))


class AudioFolder:
    """Finds the recordings of tracks: beside them, or in a folder of the same structure."""

    def __init__(self, source: Path, audio_dir: Path | None) -> None:
        self._tracks = source if source.is_dir() else source.parent
        self.folder = audio_dir or self._tracks
        self._stems: dict[Path, dict[str, list[str]]] = {}
        # On recordings that were taken though their tracks are named otherwise.
        self.notes: list[str] = []

    def find_for_track(self, track: Path, suffix: str) -> Path | ClipProblem:
        """The recording whose name or stem is the track's name, or the problem."""
        name = track.name.removesuffix(suffix)
        return self.find_by_name(track, name, track.name[len(name) :])

    def find_by_name(self, track: Path, name: str, suffix: str) -> Path | ClipProblem:
        """The recording whose name or stem is ``name``, or the problem."""
        folder = self.folder / track.parent.relative_to(self._tracks)
        stems = self._recordings(folder)
        if name in stems.get(Path(name).stem, ()):
            return folder / name
        names = stems.get(name, [])
        if len(names) > 1:  # exclude recordings that have a track of their own
            names = [n for n in names if not (track.parent / (n + suffix)).exists()]
        if len(names) == 1:
            return folder / names[0]
        if not names:
            return self._only_recording(track, folder) or self._missing(track, name, suffix, folder)
        reason = (
            f"may belong to {', '.join(names)}; rename the track after one of them, as in "
            f"{names[0]}{suffix}"
        )
        return ClipProblem(0, str(track), "ambiguous", reason)

    def _only_recording(self, track: Path, folder: Path) -> Path | None:
        """The only recording beside the only track (Audacity proposes a name of its own)."""
        recordings = [name for names in self._recordings(folder).values() for name in names]
        tracks = [path for path in track.parent.glob(f"*{track.suffix}") if path.is_file()]
        if len(recordings) != 1 or len(tracks) != 1:
            return None
        self.notes.append(f"{track.name} is taken for {recordings[0]}, the only recording there")
        return folder / recordings[0]

    def _missing(self, track: Path, name: str, suffix: str, folder: Path) -> ClipProblem:
        recordings = sorted(name for names in self._recordings(folder).values() for name in names)
        if recordings:
            renamed = Path(recordings[0]).stem + suffix
            advice = f"rename the track after its recording, such as {renamed}"
        else:
            advice = "give the folder of the audio as --audio-dir"
        return ClipProblem(
            0, str(track), "missing_file", f"no recording {name!r} in {folder}; {advice}"
        )

    def _recordings(self, folder: Path) -> dict[str, list[str]]:
        """The names of the audio files in a folder by stem."""
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
                    stems.setdefault(path.stem, []).append(path.name)
            self._stems[folder] = stems
        return self._stems[folder]
