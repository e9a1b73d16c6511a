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
_MAX_PATH_CHARACTERS = 4096


@dataclass(frozen=True)
class _CandidatePath:
    """A place inside the folder; a ``loose`` one leaves something of the reference out."""

    relative: str
    partial: bool = False


def locate_all(references: Sequence[str], folder: Path) -> Iterator[tuple[str, Path | Problem]]:
    """Each reference with the file inside ``folder`` that it means, or why there is none.

    Two references that could only mean the same file by leaving something out mean none: the one
    label would be given to the sound of the other.
    """
    resolved = {reference: _resolve(reference, folder, partial=True) for reference in references}
    references_by_path: dict[Path, list[str]] = {}
    for reference, (place, _) in resolved.items():
        if isinstance(place, Path):
            references_by_path.setdefault(place, []).append(reference)
    for reference, (place, partial) in resolved.items():
        if isinstance(place, Path) and partial and len(references_by_path[place]) > 1:
            others = ", ".join(repr(r) for r in references_by_path[place] if r != reference)
            yield (
                reference,
                Problem(
                    reference,
                    "ambiguous",
                    f"leads to {place}, as does {others}; put each into {folder} under its whole name",
                ),
            )
        else:
            yield reference, place


def locate(reference: str, folder: Path) -> Path | Problem:
    """The file inside ``folder`` that all of a reference leads to, or why there is none."""
    return _resolve(reference, folder, partial=False)[0]


def _resolve(reference: str, folder: Path, *, partial: bool) -> tuple[Path | Problem, bool]:
    """The file, or why there is none; and whether something of the reference was left out."""
    if not reference or len(reference) > _MAX_PATH_CHARACTERS or not reference.isprintable():
        shown = printable_reference(reference)
        return Problem(shown, "no_audio", f"no name of a recording: {shown!r}"), False
    candidates = [
        candidate
        for candidate in _candidate_paths(reference, folder)
        if partial or not candidate.partial
    ]
    if any(".." in PurePosixPath(g.relative).parts or g.relative[:1] == "/" for g in candidates):
        reason = f"{reference!r} lies outside {folder}; give its folder as --audio-dir"
        return Problem(reference, "outside", reason), False
    for candidate in candidates:
        path = folder / candidate.relative
        try:
            if not path.is_file():
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                reason = f"{path} leads out of {folder}; give the folder it leads to as --audio-dir"
                return Problem(reference, "outside", reason), False
        except (OSError, ValueError):  # a name that no file can have
            continue
        return path, candidate.partial
    return _missing_file(reference, folder, candidates), False


def _missing_file(reference: str, folder: Path, candidates: Sequence[_CandidatePath]) -> Problem:
    places = dict.fromkeys(candidate.relative for candidate in candidates) or [reference]
    looked = " or ".join(map(repr, places))
    if _is_remote(reference):
        reason = f"is at {reference!r}, and nothing is fetched from there; download it to {folder}"
        return Problem(reference, "remote", f"{reason} as {looked}")
    reason = f"no {looked} in {folder}; put it there, or give its folder as --audio-dir"
    return Problem(reference, "missing_file", reason)


def printable_reference(reference: str) -> str:
    """A reference as it can be shown."""
    return "".join(c if c.isprintable() else "?" for c in reference[:200])


def is_label_studio_path(reference: str) -> bool:
    """Whether a reference is a path that a Label Studio server answers."""
    try:
        path = urlsplit(reference).path
    except ValueError:
        return False
    return bool(_UPLOAD.search(path) or _LOCAL_FILES.search(path))


def _is_remote(reference: str) -> bool:
    return bool(_URL.match(reference)) and not reference.lower().startswith("file://")


def _candidate_paths(reference: str, folder: Path) -> list[_CandidatePath]:
    """Places inside the folder where it may be, the likeliest first."""
    try:
        url = urlsplit(reference)
    except ValueError:  # such as brackets that open and do not close
        return [_CandidatePath(reference)]
    upload = _UPLOAD.search(url.path)
    if upload is not None:
        return _upload_candidates(upload[1], unquote(upload[2]))
    if _LOCAL_FILES.search(url.path):
        return _local_files_candidates(url.query)
    if _is_remote(reference):
        path = unquote(url.path).lstrip("/")
        name = PurePosixPath(path).name
        return [
            _CandidatePath(f"{url.netloc}/{path}"),
            _CandidatePath(path, partial=True),
            _CandidatePath(name, partial=True),
        ]
    return _path_candidates(reference, folder)


def _upload_candidates(project: str | None, name: str) -> list[_CandidatePath]:
    places = [f"upload/{project}/{name}", f"{project}/{name}"] if project else []
    candidates = [_CandidatePath(place) for place in (*places, name)]
    stripped = _PREFIX.sub("", name)
    return candidates if stripped == name else [*candidates, _CandidatePath(stripped, partial=True)]


def _local_files_candidates(query: str) -> list[_CandidatePath]:
    match = re.search(r"(?:^|&)d=([^&]*)", query)
    name = match[1] if match else ""
    # A plus is a space for some who write queries, and a plus for others.
    return [_CandidatePath(text) for text in dict.fromkeys((unquote(name), unquote_plus(name)))]


def _path_candidates(reference: str, folder: Path) -> list[_CandidatePath]:
    if _DRIVE.match(reference):  # of another machine, so that only its name tells
        return [_CandidatePath(PureWindowsPath(reference).name, partial=True)]
    path = unquote(urlsplit(reference).path) if reference.startswith("file:") else reference
    if not path.startswith("/"):
        return [_CandidatePath(path)]
    for root in (folder.absolute(), folder.resolve()):
        if PurePosixPath(path).is_relative_to(root):
            return [_CandidatePath(str(PurePosixPath(path).relative_to(root)))]
    return [_CandidatePath(PurePosixPath(path).name, partial=True)]
