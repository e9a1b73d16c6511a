"""Where the recordings are that a foreign file refers to: inside one folder, and nowhere else.

/data/upload/3/0a1b2c3d-seven.wav      an upload to Label Studio, with or without its prefix
/data/local-files/?d=day/seven.wav     a file below the folder that Label Studio serves
s3://bucket/day/seven.wav, https://    what was downloaded from there: nothing is fetched
day/seven.wav, /home/ann/seven.wav     a path; of one that leads elsewhere the name counts
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, unquote_plus, urlsplit

from earful.data.annotations.annotation import Problem

_UPLOAD = re.compile(r"(?:^|/)data/upload/(?:(\d+)/)?([^/]+)$")
_LOCAL_FILES = re.compile(r"(?:^|/)data/local-files/?$")
# Eight hexadecimal digits that Label Studio puts before the name of an upload.
_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class _Guess:
    """A place inside the folder; a ``loose`` one leaves something of the reference out."""

    relative: str
    loose: bool = False


def locate_all(references: Sequence[str], folder: Path) -> Iterator[tuple[str, Path | Problem]]:
    """Each reference with the file inside ``folder`` that it means, or why there is none.

    Two references that could only mean the same file by leaving something out mean none: the one
    label would be given to the sound of the other.
    """
    found = {reference: _locate(reference, folder, loose=True) for reference in references}
    takers: dict[Path, list[str]] = {}
    for reference, (place, _) in found.items():
        if isinstance(place, Path):
            takers.setdefault(place, []).append(reference)
    for reference, (place, loose) in found.items():
        if isinstance(place, Path) and loose and len(takers[place]) > 1:
            others = ", ".join(repr(r) for r in takers[place] if r != reference)
            yield reference, Problem(
                reference, "ambiguous",
                f"leads to {place}, as does {others}; put each into {folder} under its whole name",
            )  # fmt: skip
        else:
            yield reference, place


def locate(reference: str, folder: Path) -> Path | Problem:
    """The file inside ``folder`` that all of a reference leads to, or why there is none."""
    return _locate(reference, folder, loose=False)[0]


def _locate(reference: str, folder: Path, *, loose: bool) -> tuple[Path | Problem, bool]:
    """The file, or why there is none; and whether something of the reference was left out."""
    if not reference or len(reference) > _LONGEST_PATH or not reference.isprintable():
        shown = plain_reference(reference)
        return Problem(shown, "no_audio", f"no name of a recording: {shown!r}"), False
    guesses = [guess for guess in _guesses(reference, folder) if loose or not guess.loose]
    if any(".." in PurePosixPath(g.relative).parts or g.relative[:1] == "/" for g in guesses):
        reason = f"{reference!r} lies outside {folder}; give its folder as --audio-dir"
        return Problem(reference, "outside", reason), False
    for guess in guesses:
        path = folder / guess.relative
        try:
            if not path.is_file():
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                reason = f"{path} leads out of {folder}; give the folder it leads to as --audio-dir"
                return Problem(reference, "outside", reason), False
        except (OSError, ValueError):  # a name that no file can have
            continue
        return path, guess.loose
    return _gone(reference, folder, guesses), False


def _gone(reference: str, folder: Path, guesses: Sequence[_Guess]) -> Problem:
    places = dict.fromkeys(guess.relative for guess in guesses) or [reference]
    looked = " or ".join(map(repr, places))
    if _is_remote(reference):
        reason = f"is at {reference!r}, and nothing is fetched from there; download it to {folder}"
        return Problem(reference, "remote", f"{reason} as {looked}")
    reason = f"no {looked} in {folder}; put it there, or give its folder as --audio-dir"
    return Problem(reference, "gone", reason)


def plain_reference(reference: str) -> str:
    """A reference as it can be shown."""
    return "".join(c if c.isprintable() else "?" for c in reference[:200])


def is_of_label_studio(reference: str) -> bool:
    """Whether a reference is a path that a Label Studio server answers."""
    try:
        path = urlsplit(reference).path
    except ValueError:
        return False
    return bool(_UPLOAD.search(path) or _LOCAL_FILES.search(path))


def _is_remote(reference: str) -> bool:
    return bool(_URL.match(reference)) and not reference.lower().startswith("file://")


def _guesses(reference: str, folder: Path) -> list[_Guess]:
    """Places inside the folder where it may be, the likeliest first."""
    try:
        url = urlsplit(reference)
    except ValueError:  # such as brackets that open and do not close
        return [_Guess(reference)]
    upload = _UPLOAD.search(url.path)
    if upload is not None:
        return _of_upload(upload[1], unquote(upload[2]))
    if _LOCAL_FILES.search(url.path):
        return _of_local_files(url.query)
    if _is_remote(reference):
        path = unquote(url.path).lstrip("/")
        name = PurePosixPath(path).name
        return [_Guess(f"{url.netloc}/{path}"), _Guess(path, loose=True), _Guess(name, loose=True)]
    return _of_path(reference, folder)


def _of_upload(project: str | None, name: str) -> list[_Guess]:
    places = [f"upload/{project}/{name}", f"{project}/{name}"] if project else []
    guesses = [_Guess(place) for place in (*places, name)]
    stripped = _PREFIX.sub("", name)
    return guesses if stripped == name else [*guesses, _Guess(stripped, loose=True)]


def _of_local_files(query: str) -> list[_Guess]:
    found = re.search(r"(?:^|&)d=([^&]*)", query)
    name = found[1] if found else ""
    # A plus is a space for some who write queries, and a plus for others.
    return [_Guess(text) for text in dict.fromkeys((unquote(name), unquote_plus(name)))]


def _of_path(reference: str, folder: Path) -> list[_Guess]:
    if _DRIVE.match(reference):  # of another machine, so that only its name tells
        return [_Guess(PureWindowsPath(reference).name, loose=True)]
    path = unquote(urlsplit(reference).path) if reference.startswith("file:") else reference
    if not path.startswith("/"):
        return [_Guess(path)]
    for root in (folder.absolute(), folder.resolve()):
        if PurePosixPath(path).is_relative_to(root):
            return [_Guess(str(PurePosixPath(path).relative_to(root)))]
    return [_Guess(PurePosixPath(path).name, loose=True)]
