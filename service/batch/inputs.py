"""Finds the inputs to classify: files, folders, globs, lists and URLs.

The order is always the same, and memory holds the names of one folder at most. A path that cannot
be found or read is still an input: it becomes an error row.
"""

import codecs
import fnmatch
import glob
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from earful.data.audio.containers import AUDIO_SUFFIXES, is_accepted
from earful.data.audio.decode import END_TOLERANCE_SECONDS
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.service.batch.errors import BatchError
from earful.service.batch.remote import find_remote, is_remote

CSV_SUFFIXES, LIST_SUFFIXES = (".csv", ".tsv"), (".txt", ".lst", ".list")
STANDARD_INPUT = "-"
# A folder with more names is sorted on disk.
_SORTED_IN_MEMORY = 20_000
_LIST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Input:
    """One recording or a segment of it, before it is read.

    location    path, URL, or ``-`` for audio on standard input
    expected    the correct label, where a list gives it
    n_bytes     file size; -1 when unknown
    change_tag  modification time or ETag: with ``n_bytes``, tells whether a file has changed
    problem     ``code: message`` of an input that cannot be read
    end_tolerance_seconds  how far the end may lie behind that of the recording
    """

    location: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    expected: str = ""
    n_bytes: int = -1
    change_tag: str = ""
    problem: str = ""
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS


def find_inputs(paths: Sequence[str], options: CsvOptions = PLAIN_CSV) -> Iterator[Input]:
    """Yield every input under the paths, in the order given; files of a folder sorted by name.

    A path is a file, a folder (searched recursively for audio suffixes; links to folders are not
    followed, because they may form a loop), a glob, a URL, a CSV with a column of file names, a
    text file with one name per line, or ``-``: such a list, or audio, on standard input. Relative
    names in a list are relative to ``options.audio_dir``, or to the folder of the list; names on
    standard input are relative to the working folder.

    Raises:
        LabelsError: a CSV cannot be read.
        BatchError: a list or a URL cannot be read.
    """
    for path in paths:
        empty = True
        for source in _expand(path, options):
            if source.location == STANDARD_INPUT and len(paths) > 1:
                raise BatchError(
                    "audio on standard input is classified alone; leave out the other inputs"
                )
            empty = False
            yield source if source.problem or source.n_bytes >= 0 else _with_file_stat(source)
        if empty and len(paths) > 1:
            yield Input(path, problem="not_found: no audio file here")


def _expand(path: str, options: CsvOptions) -> Iterator[Input]:
    if path == STANDARD_INPUT:
        return _from_stdin(options)
    if is_remote(path):
        return _from_url(path)
    if is_folder(path):
        return _search_folder(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (*CSV_SUFFIXES, *LIST_SUFFIXES):
        read = _from_csv if suffix in CSV_SUFFIXES else _from_list_file
        return read(Path(path), options)
    is_glob = glob.has_magic(path) and not os.path.lexists(path)
    return _from_glob(path) if is_glob else iter([Input(path)])


def _from_url(url: str) -> Iterator[Input]:
    for location, n_bytes, change_tag in find_remote(url, AUDIO_SUFFIXES):
        yield Input(location, n_bytes=n_bytes, change_tag=change_tag)


def _from_glob(pattern: str) -> Iterator[Input]:
    if "**" in pattern:  # glob.iglob follows links to folders and never leaves a loop of them
        before, _, _ = pattern.partition("**")
        pattern_parts = os.path.normpath(pattern).split("/")
        for source in _search_folder(os.path.dirname(before) or "."):
            path_parts = os.path.normpath(source.location).split("/")
            if source.problem or _matches(path_parts, pattern_parts):
                yield source
        return
    for name, _ in _sort_names((name, False) for name in glob.iglob(pattern)):
        if is_folder(name):
            yield from _search_folder(name)
        else:
            yield Input(name)


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a glob; ``**`` is any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[skipped:], pattern[1:]) for skipped in range(len(path) + 1))
    return (
        len(path) > 0
        and fnmatch.fnmatchcase(path[0], pattern[0])
        and _matches(path[1:], pattern[1:])
    )


def _from_csv(path: Path, options: CsvOptions) -> Iterator[Input]:
    from earful.data.labels.clip import ClipProblem
    from earful.data.labels.labels_csv import stream_rows

    for row in stream_rows(path, options):
        if isinstance(row, ClipProblem):
            yield Input(
                row.filename or f"{path}:{row.line}",
                problem=f"bad_row: line {row.line}, {row.message}",
            )
            continue
        location = row.filename if is_remote(row.filename) else str(row.path)
        yield Input(
            location,
            row.start_seconds,
            row.end_seconds,
            row.label,
            end_tolerance_seconds=row.end_tolerance_seconds,
        )


def _from_list_file(path: Path, options: CsvOptions) -> Iterator[Input]:
    try:
        with path.open("rb") as file:
            yield from _from_names(file, options.audio_dir or path.parent)
    except OSError as error:
        raise BatchError(f"cannot read the list {path}: {error.strerror}") from error


def _from_stdin(options: CsvOptions) -> Iterator[Input]:
    # A stream without peek (io.BytesIO, say) is read as a list.
    buffered = sys.stdin.buffer
    if isinstance(buffered, io.BufferedReader) and is_accepted(buffered.peek(32)[:32]):
        return iter([Input(STANDARD_INPUT)])
    return _from_names(sys.stdin.buffer, options.audio_dir or Path())


def _from_names(file: BinaryIO, folder: Path) -> Iterator[Input]:
    """Names separated by NUL (``find -print0``) if the first block has one, else by newlines."""
    for name in _split_names(file):
        if name.strip():
            text = os.fsdecode(name)
            yield Input(text if is_remote(text) else str(folder / text))


def _split_names(file: BinaryIO) -> Iterator[bytes]:
    chunk = rest = file.read(_LIST_BYTES).removeprefix(codecs.BOM_UTF8)
    by_nul = b"\0" in chunk
    while chunk:
        *names, rest = rest.split(b"\0" if by_nul else b"\n")
        yield from names if by_nul else (name.rstrip(b"\r") for name in names)
        chunk = file.read(_LIST_BYTES)
        rest += chunk
    yield rest if by_nul else rest.rstrip(b"\r")


def _search_folder(folder: str) -> Iterator[Input]:
    """Depth first. Skips names with a leading dot: macOS writes metadata to files like ._a.wav.

    A stack and no recursion: folders may lie within each other deeper than Python's calls may.
    """
    stack = [_list_folder(folder)]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif isinstance(found, Input):
            yield found
        else:
            stack.append(_list_folder(found))


def _list_folder(folder: str) -> Iterator[Input | str]:
    """The audio files of a folder, and the paths of its folders; one that cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = _sort_names(
                pair for entry in entries if (pair := _folder_or_audio(entry)) is not None
            )
            for name, nested in names:
                path = os.path.join(folder, name)
                yield path if nested else Input(path)
    except OSError as error:
        yield Input(folder, problem=f"unreadable: cannot list the folder: {error.strerror}")


def _folder_or_audio(entry: "os.DirEntry[str]") -> tuple[str, bool] | None:
    """(name, whether it is a folder) of a folder or an audio file; None for anything else."""
    if entry.name.startswith("."):
        return None
    if entry.is_dir(follow_symlinks=False):
        return entry.name, True
    if os.path.splitext(entry.name)[1].lower() not in AUDIO_SUFFIXES:
        return None
    return None if entry.is_symlink() and is_folder(entry.path) else (entry.name, False)


def _sort_names(names: Iterator[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Sort names by their bytes; more than ``_SORTED_IN_MEMORY`` in a temporary SQLite database."""
    first_names = [pair for _, pair in zip(range(_SORTED_IN_MEMORY), names, strict=False)]
    if len(first_names) < _SORTED_IN_MEMORY:
        yield from sorted(set(first_names), key=lambda pair: os.fsencode(pair[0]))
        return
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect("")) as database:  # on disk; SQLite deletes it on close
            database.execute("CREATE TABLE n (name BLOB PRIMARY KEY, nested INTEGER) WITHOUT ROWID")
            for part in (first_names, names):
                rows = ((os.fsencode(name), nested) for name, nested in part)
                database.executemany("INSERT OR IGNORE INTO n VALUES (?, ?)", rows)
            del first_names
            for name, nested in database.execute("SELECT name, nested FROM n ORDER BY name"):
                yield os.fsdecode(name), bool(nested)
    except sqlite3.Error as error:
        raise BatchError(f"cannot sort the names of a large folder on disk: {error}") from error


def _with_file_stat(source: Input) -> Input:
    if source.location == STANDARD_INPUT or is_remote(source.location):
        return source
    try:
        status = os.stat(source.location)
    except (OSError, ValueError):  # reading it reports the error in its row
        return source
    if stat.S_ISDIR(status.st_mode):
        return replace(source, problem="not_found: a folder, not a file")
    return replace(source, n_bytes=status.st_size, change_tag=str(status.st_mtime_ns))


def is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):  # missing, or no valid path (too long, say)
        return False
