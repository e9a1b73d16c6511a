"""Many files to rows: every input gives one, also when it could not be read."""

import csv
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from data.audio import AudioError, Waveform, read_file
from data.errors import EarshotError
from service.classifier import Classifier, Prediction, classify_each

AUDIO_SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
     ".snd", ".w64", ".wav", ".wave"}
)  # fmt: skip
COLUMNS = ("filename", "start", "end", "label", "score", "status", "error")
OUTPUT_SUFFIXES = (".csv", ".jsonl")


class BatchError(EarshotError):
    """Nothing to classify, or an output format that is not known."""


@dataclass(frozen=True)
class Row:
    """One row: times in seconds, ``scores`` best first; a failed file has an error only.

    ``label`` is that of the best score, or ``unknown`` where the classifier rejects.
    """

    filename: str
    start: float | None = None
    end: float | None = None
    label: str = ""
    scores: tuple[tuple[str, float], ...] = ()
    error: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.error)


class RowWriter(Protocol):
    """Writes rows to an open text file, one after the other."""

    def write(self, row: Row) -> None: ...


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Files as given, folders searched for audio by suffix, recursively, in order of name.

    Links to folders are not followed, so that a loop ends. A named file that is missing and a
    folder that may not be searched stay in the list: their rows will say so.

    Raises:
        BatchError: nothing found.
    """
    found: list[Path] = []
    for path in paths:
        found += sorted(_walk(path)) if _is_folder(path) else [path]
    if not found:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise BatchError(
            f"no audio file under {', '.join(map(str, paths))} (looked for {suffixes})"
        )
    return found


def classify_files(
    classifier: Classifier, files: Iterable[Path], *, windows: bool = False
) -> Iterator[list[Row]]:
    """The rows of each file, in the order of the files: one, or one a window with ``windows``."""
    names: deque[Path] = deque()  # of files whose batch is not answered yet

    def waveforms() -> Iterator[Waveform | AudioError]:
        for path in files:
            names.append(path)
            try:
                yield classifier.decode(_read(path)).waveform
            except AudioError as error:
                yield error

    for result in classify_each(classifier, waveforms()):
        yield _rows(_printable(names.popleft()), result, windows)


def output_suffix(out: Path) -> str:
    """``.csv`` or ``.jsonl``.

    Raises:
        BatchError: another suffix.
    """
    suffix = out.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise BatchError(
            f"results are written as {' or '.join(OUTPUT_SUFFIXES)}, found {str(out)!r}"
        )
    return suffix


def open_writer(file: TextIO, suffix: str, top_k: int) -> RowWriter:
    """A writer of the format that the suffix names."""
    return CsvWriter(file, top_k) if suffix == ".csv" else JsonLinesWriter(file, top_k)


class CsvWriter:
    """The columns of the contract; with ``top_k`` above 1 also label_2, score_2 and so on."""

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._top_k = top_k
        extra = [f"{name}_{k}" for k in range(2, top_k + 1) for name in ("label", "score")]
        self._writer.writerow([*COLUMNS, *extra])

    def write(self, row: Row) -> None:
        cells = [
            cell for label, score in row.scores[: self._top_k] for cell in (label, f"{score:.6f}")
        ]
        cells[:1] = [row.label] if cells else []
        cells += [""] * (2 * self._top_k - len(cells))
        times = ["" if t is None else f"{t:.3f}" for t in (row.start, row.end)]
        status = "error" if row.failed else "ok"
        self._writer.writerow([row.filename, *times, *cells[:2], status, row.error, *cells[2:]])


class JsonLinesWriter:
    """One JSON object a line, keyed by column; ``top_k`` above 1 adds the list ``scores``."""

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._file = file
        self._top_k = top_k

    def write(self, row: Row) -> None:
        values: dict[str, Any] = {
            "filename": row.filename,
            "start": row.start,
            "end": row.end,
            "label": row.label or None,
            "score": row.scores[0][1] if row.scores else None,
            "status": "error" if row.failed else "ok",
            "error": row.error or None,
        }
        if self._top_k > 1:
            best = row.scores[: self._top_k]
            values["scores"] = [{"label": n, "score": s} for n, s in best]
        self._file.write(json.dumps(values, ensure_ascii=False) + "\n")


def write_rows(
    results: Iterable[list[Row]], writer: RowWriter, on_file: Callable[[bool], None]
) -> tuple[int, int]:
    """Write all rows; (files, failed files). ``on_file`` hears of each file whether it failed."""
    files = failed = 0
    for rows in results:
        for row in rows:
            writer.write(row)
        files += 1
        failed += rows[0].failed
        on_file(rows[0].failed)
    return files, failed


def _read(path: Path) -> bytes:
    if _is_folder(path):
        raise AudioError("unreadable", "a folder that may not be searched")
    return read_file(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, say: its row will tell
        return False


def _walk(folder: Path) -> Iterator[Path]:
    refused: list[Path] = []
    for parent, folders, names in os.walk(
        folder, onerror=lambda e: refused.append(Path(e.filename))
    ):
        # What begins with a dot is hidden: "._a.wav" is a note of macOS about a.wav, and no audio.
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield Path(parent, name)
    yield from refused


def _rows(filename: str, result: Prediction | AudioError, windows: bool) -> list[Row]:
    if isinstance(result, AudioError):
        return [Row(filename, error=f"{result.code}: {result}")]
    if not windows:
        seconds = round(result.seconds, 6)
        return [Row(filename, 0.0, seconds, result.label, tuple(result.ranked()))]
    return [
        Row(
            filename,
            round(window.start_seconds, 6),
            round(window.end_seconds, 6),
            window.label,
            tuple(result.ranked(window)),
        )
        for window in result.windows
    ]


def _printable(path: Path) -> str:
    """The path as text; bytes that are no UTF-8 are written as ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
