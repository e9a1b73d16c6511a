"""Resolve audio references of other tools to files inside one folder, never outside it.

/data/upload/3/0a1b2c3d-seven.wav      an upload to Label Studio, with or without its prefix
/data/local-files/?d=day/seven.wav     a file below the folder that Label Studio serves
s3://bucket/day/seven.wav, https://    a local copy of a remote file; nothing is downloaded
day/seven.wav, /home/ann/seven.wav     a path; outside the folder only its name is used
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, unquote_plus, urlsplit

from earful.data.labels.clip import ClipProblem
from earful.data.text.printable import printable_line

_UPLOAD = re.compile(r"(?:^|/)data/upload/(?:(\d+)/)?([^/]+)$")
_LOCAL_FILES = re.compile(r"(?:^|/)data/local-files/?$")
# Label Studio prefixes the name of an upload with eight hexadecimal digits.
_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
_MAX_PATH_CHARACTERS = 4096


@dataclass(frozen=True)
class _CandidatePath:
    """A path inside the folder; ``partial`` if it drops a part of the reference."""

    relative: str
    partial: bool = False


def locate_all(references: Sequence[str], folder: Path) -> Iterator[tuple[str, Path | ClipProblem]]:
    """Each reference with its file inside ``folder``, or the problem.

    Different references that match the same file only partially are ambiguous and match none: one
    label would be assigned to the audio of the other.
    """
    resolved = {reference: _resolve(reference, folder, partial=True) for reference in references}
    references_by_path: dict[Path, list[str]] = {}
    for reference, (path, _) in resolved.items():
        if isinstance(path, Path):
            references_by_path.setdefault(path, []).append(reference)
    for reference, (path, partial) in resolved.items():
        if isinstance(path, Path) and partial and len(references_by_path[path]) > 1:
            others = ", ".join(repr(r) for r in references_by_path[path] if r != reference)
            reason = f"matches {path}, as does {others}; put each into {folder} under its full path"
            yield reference, ClipProblem(0, reference, "ambiguous", reason)
        else:
            yield reference, path


def locate(reference: str, folder: Path) -> Path | ClipProblem:
    """The file inside ``folder`` that matches the full reference, or the problem."""
    return _resolve(reference, folder, partial=False)[0]


def _resolve(reference: str, folder: Path, *, partial: bool) -> tuple[Path | ClipProblem, bool]:
    """The file or the problem, and whether only a part of the reference matches."""
    if not reference or len(reference) > _MAX_PATH_CHARACTERS or not reference.isprintable():
        printable = printable_reference(reference)
        return ClipProblem(
            0, printable, "no_audio", f"not the name of a file: {printable!r}"
        ), False
    candidates = [
        candidate
        for candidate in _candidate_paths(reference, folder)
        if partial or not candidate.partial
    ]
    if any(".." in PurePosixPath(c.relative).parts or c.relative[:1] == "/" for c in candidates):
        reason = f"{reference!r} is outside {folder}; give its folder as --audio-dir"
        return ClipProblem(0, reference, "outside", reason), False
    for candidate in candidates:
        path = folder / candidate.relative
        try:
            if not path.is_file():
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                reason = (
                    f"{path} is a link out of {folder}; give the folder it leads to as --audio-dir"
                )
                return ClipProblem(0, reference, "outside", reason), False
        except (OSError, ValueError):  # not a valid file name
            continue
        return path, candidate.partial
    return _missing_file(reference, folder, candidates), False


def _missing_file(
    reference: str, folder: Path, candidates: Sequence[_CandidatePath]
) -> ClipProblem:
    paths = dict.fromkeys(candidate.relative for candidate in candidates) or [reference]
    tried = " or ".join(map(repr, paths))
    if _is_remote(reference):
        reason = f"{reference!r} is remote and is not downloaded; download it to {folder}"
        return ClipProblem(0, reference, "remote", f"{reason} as {tried}")
    reason = f"no {tried} in {folder}; put it there, or give its folder as --audio-dir"
    return ClipProblem(0, reference, "missing_file", reason)


def printable_reference(reference: str) -> str:
    """A reference for messages: printable, at most 200 characters."""
    return printable_line(reference[:200])


def is_label_studio_path(reference: str) -> bool:
    """Whether a reference is a path of a Label Studio server."""
    try:
        path = urlsplit(reference).path
    except ValueError:
        return False
    return bool(_UPLOAD.search(path) or _LOCAL_FILES.search(path))


def _is_remote(reference: str) -> bool:
    return bool(_URL.match(reference)) and not reference.lower().startswith("file://")


def _candidate_paths(reference: str, folder: Path) -> list[_CandidatePath]:
    """Candidate paths inside the folder, the most likely first."""
    try:
        url = urlsplit(reference)
    except ValueError:  # such as an unclosed bracket
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
    project_paths = [f"upload/{project}/{name}", f"{project}/{name}"] if project else []
    candidates = [_CandidatePath(path) for path in (*project_paths, name)]
    stripped = _PREFIX.sub("", name)
    return candidates if stripped == name else [*candidates, _CandidatePath(stripped, partial=True)]


def _local_files_candidates(query: str) -> list[_CandidatePath]:
    match = re.search(r"(?:^|&)d=([^&]*)", query)
    name = match[1] if match else ""
    # Some writers of queries encode a space as a plus, others do not.
    return [_CandidatePath(text) for text in dict.fromkeys((unquote(name), unquote_plus(name)))]


def _path_candidates(reference: str, folder: Path) -> list[_CandidatePath]:
    if _DRIVE.match(reference):  # a path on another machine: use its name only
        return [_CandidatePath(PureWindowsPath(reference).name, partial=True)]
    path = unquote(urlsplit(reference).path) if reference.startswith("file:") else reference
    if not path.startswith("/"):
        return [_CandidatePath(path)]
    for root in (folder.absolute(), folder.resolve()):
        if PurePosixPath(path).is_relative_to(root):
            return [_CandidatePath(str(PurePosixPath(path).relative_to(root)))]
    return [_CandidatePath(PurePosixPath(path).name, partial=True)]
