"""Find the files of a CSV whose names were written on another system, or without their folders.

A name that is there as it stands is taken. For the others the folder is searched once, and a file
is taken where it is certain, and said:

    a\\b.wav, A/b.WAV, other Unicode forms   the same name
    b.wav, b, b.mp3                         the one file with that name, or that stem, below
    C:\\data\\a\\b.wav, /home/ann/data/a/b.wav  the end of a path of another machine

Not certain, and named only: two files for one name, one file for two names, another folder in place
of the one that is named.
"""

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.audio.system_files import visible_files

# Beside a CSV, where datasets keep their recordings.
CUSTOMARY_FOLDERS = ("audio", "recordings", "clips", "wavs", "wav", "sounds", "data")
_DRIVE = re.compile(r"^[A-Za-z]:")
_MAX_FILES = 2_000_000

Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Match:
    """A file for a name: what of the name and of its path is not shared, and how they differ."""

    path: str
    dropped: Parts
    added: Parts
    difference: str


def count_existing(names: Sequence[str], folder: Path) -> int:
    """How many names are files of a folder as they stand."""
    return sum(_exists(folder / name) for name in names if name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or no name of a file
        return False


def find_files(
    names: Sequence[str], folder: Path, *, search_beside: bool
) -> tuple[dict[str, Path], list[str]]:
    """Each distinct name with its path, and notes on those that lie elsewhere or are missing.

    A missing one has the path that it names.
    With ``search_beside`` the folder was not given by the user, and customary ones beside it are
    searched too if none of the names is in it.
    """
    paths = {name: folder / name for name in dict.fromkeys(names)}
    missing = [name for name, path in paths.items() if not _exists(path)]
    if not missing:
        return paths, []
    for root in _roots(folder, search_beside=search_beside and len(missing) == len(paths)):
        index = _Index(root)
        matches = _certain(index.match_all(missing))
        if matches:
            paths |= {name: root / match.path for name, match in matches.items()}
            left = [name for name in missing if name not in matches]
            return paths, [
                *_describe_matches(matches, root),
                *_describe_missing(left, len(paths), index),
            ]
    return paths, list(_describe_missing(missing, len(paths), _Index(folder)))


def _roots(folder: Path, *, search_beside: bool) -> Iterator[Path]:
    yield folder
    if search_beside:
        parent = folder.absolute().parent
        yield from (parent / name for name in CUSTOMARY_FOLDERS if (parent / name).is_dir())


class _Index:
    """The recordings below a folder, by the end of their path: the last two parts, or one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_end: dict[Parts, list[_Recording]] = defaultdict(list)
        recordings = filter(_is_recording, visible_files(root))
        for relative in itertools.islice(recordings, _MAX_FILES):
            parts = _split(relative)
            recording = _Recording(relative, parts, _keys(parts))
            last = recording.keys[-1]
            names = {last, _stem(last)}
            ends = {(name,) for name in names} | {(*recording.keys[-2:-1], name) for name in names}
            for end in ends:
                self._by_end[end].append(recording)

    def match_all(self, names: Sequence[str]) -> dict[str, _Match | str]:
        """The match of each name, or why there is none that is certain; others are left out."""
        found = {name: self._match(name) for name in names}
        return {name: match for name, match in found.items() if match is not None}

    def _match(self, name: str) -> _Match | str | None:
        parts = _split(name)
        if not parts or ".." in parts:
            return None
        keys = _keys(parts)
        recordings = self._find(keys)
        if not recordings:
            return None
        shared = [_n_shared(keys, recording.keys) for recording in recordings]
        best = [r for r, n in zip(recordings, shared, strict=True) if n == max(shared)]
        if len(best) > 1:
            return f"{len(best)} files have that name (the first: {best[0].path})"
        return _build_match(name, parts, best[0], max(shared))

    def _find(self, keys: Parts) -> list["_Recording"]:
        """Recordings with the last name of a path, or else with its stem; in its folder if any."""
        for last in (keys[-1], _stem(keys[-1])):
            for end in ((*keys[-2:-1], last), (last,)):
                if end in self._by_end:
                    return self._by_end[end]
        return []


@dataclass(frozen=True)
class _Recording:
    """A recording's path below the folder, its parts, and their keys."""

    path: str
    parts: Parts
    keys: Parts


def _build_match(name: str, parts: Parts, recording: _Recording, n_shared: int) -> _Match | str:
    own = recording.parts
    dropped, added = parts[: len(parts) - n_shared], own[: len(own) - n_shared]
    if dropped and added and n_shared < 2:
        return f"there is {recording.path}, in another folder"
    return _Match(recording.path, dropped, added, _difference(name, parts, own, n_shared))


def _difference(name: str, parts: Parts, own: Parts, n_shared: int) -> str:
    if len(parts) > n_shared:
        return "by the path of another machine"
    if len(own) > n_shared:
        return "by the folders that they leave out"
    if _stem(parts[-1]) == parts[-1] or _key(parts[-1]) != _key(own[-1]):
        return "by their suffix"
    if "\\" in name:
        return "by their slashes"
    nfc = [tuple(unicodedata.normalize("NFC", part) for part in names) for names in (parts, own)]
    if parts == own:
        return "by the folder beside the CSV"
    return "by their Unicode form" if nfc[0] == nfc[1] else "by capital letters"


def _certain(matches: Mapping[str, _Match | str]) -> dict[str, _Match]:
    """Matches of one name each, those of another machine's paths only if all paths move alike."""
    found = {name: match for name, match in matches.items() if isinstance(match, _Match)}
    names_of = Counter(match.path for match in found.values())
    moved = {(match.dropped, match.added) for match in found.values() if match.dropped}
    return {
        name: match
        for name, match in found.items()
        if names_of[match.path] == 1 and (not match.dropped or len(moved) == 1)
    }


def _describe_matches(matches: Mapping[str, _Match], root: Path) -> Iterator[str]:
    kinds = Counter(match.difference for match in matches.values())
    for kind, count in kinds.items():
        name, match = next((n, m) for n, m in matches.items() if m.difference == kind)
        names = "1 name differs" if count == 1 else f"{count} names differ"
        yield f"{names} from the files taken {kind} (the first: {name!r} is {root / match.path})"


def _describe_missing(missing: Sequence[str], n_names: int, index: _Index) -> Iterator[str]:
    if not missing:
        return
    first = missing[0]
    why = index.match_all([first]).get(first)
    if isinstance(why, _Match):
        why = f"{why.path} has that name, but other rows name it too, or its folder differs"
    hint = f": {why}" if why else ""
    advice = "; --audio-dir names the folder, --columns filename=NAME another column"
    yield (
        f"{len(missing)} of {n_names} files are not in {index.root} (the first: {first!r}"
        f"{hint}){advice if len(missing) == n_names else ''}"
    )


def _split(name: str) -> Parts:
    """The parts of a path of any system, without a drive or a root."""
    path = _DRIVE.sub("", name.removeprefix("file://").replace("\\", "/"))
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _key(text: str) -> str:
    """Equal for names that differ in case or in their Unicode form."""
    return unicodedata.normalize("NFC", text).casefold()


def _is_recording(name: str) -> bool:
    stem, dot, suffix = name.rpartition(".")  # of 100,000 names; a Path for each takes seconds
    return bool(stem) and dot + suffix.lower() in AUDIO_SUFFIXES


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if _is_recording(name) else name


def _keys(parts: Parts) -> Parts:
    return tuple(map(_key, parts))


def _n_shared(keys: Parts, own: Parts) -> int:
    """How many parts at the end of two paths are the same; the last one, by its stem, is."""
    shared = 1
    for one, other in zip(reversed(keys[:-1]), reversed(own[:-1]), strict=False):
        if one != other:
            break
        shared += 1
    return shared
