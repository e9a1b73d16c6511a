"""Recordings that are kept: one file each, named after the SHA-256 of its bytes.

FOLDER/ab/abcdef....wav    folders 0700, files 0600; written aside, then renamed
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from earful.data.audio.containers import detect_container
from earful.service.feedback.errors import DatabaseUnavailable, FeedbackError

SHA256 = re.compile(r"[0-9a-f]{64}")
MEDIA_TYPES = {
    "wav": "audio/wav", "w64": "audio/x-w64", "aiff": "audio/aiff", "au": "audio/basic",
    "caf": "audio/x-caf", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg",
}  # fmt: skip
# A file without a row is one that is being written just now, or one whose writer was killed.
ORPHAN_AGE_SECONDS = 3_600
_MARKER = ".earful-audio"
_PARTIAL_PREFIX = ".earful-part-"


class RecordingStore:
    """The folder of the recordings; which of them are there is what the database says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def prepare(self, owner: str) -> None:
        """Make the folder, see that it can be written, and mark it as that of a database.

        Raises:
            FeedbackError: it cannot be used, or is that of another database.
        """
        marker = self.folder / _MARKER
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), marker.open("x", encoding="ascii") as file:
                file.write(owner)
            found = marker.read_text("ascii", "replace")
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise FeedbackError(
                f"cannot keep audio in {self.folder}: {error.strerror}; "
                "give a folder that can be written as EARFUL_RECORDINGS_DIR"
            ) from error
        if found not in (owner, ""):  # empty: another worker is about to write the same
            raise FeedbackError(
                f"{self.folder} holds the audio of another database of feedback; "
                "give each a folder of its own as EARFUL_RECORDINGS_DIR"
            )

    def path(self, sha256: str, suffix: str) -> Path:
        """Where a recording is, or would be.

        Raises:
            ValueError: that is no SHA-256 or none of the suffixes.
        """
        if not SHA256.fullmatch(sha256) or suffix not in MEDIA_TYPES:
            raise ValueError(f"no name of a recording: {sha256[:80]!r}, {suffix[:8]!r}")
        return self.folder / sha256[:2] / f"{sha256}.{suffix}"

    def name(self, sha256: str, suffix: str) -> str:
        """The path of a recording as text."""
        return str(self.path(sha256, suffix))

    def write(self, sha256: str, suffix: str, blob: bytes, *, durable: bool = True) -> None:
        """Write a recording, through to the disk where it must outlive a loss of power.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        target = self.path(sha256, suffix)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_PARTIAL_PREFIX, dir=target.parent)  # 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(blob)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
                Path(name).replace(target)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise DatabaseUnavailable(f"cannot keep audio in {self.folder}: {error}") from error

    def remove(self, sha256: str, suffix: str) -> None:
        """Delete a recording, which may be gone already.

        Raises:
            StoreUnavailable: it is there and cannot be deleted.
        """
        try:
            self.path(sha256, suffix).unlink(missing_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(
                f"{self.path(sha256, suffix)} cannot be deleted: {error}"
            ) from error

    def complete_files(self) -> Iterator[Path]:
        """The recordings of the folder that nobody is writing any more; halves of some are deleted.

        None where the folder is not marked: it may be where a disk is mounted that is away.
        """
        if not (self.folder / _MARKER).is_file():
            return
        newest = time.time() - ORPHAN_AGE_SECONDS
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):  # deleted by another worker meanwhile
                if path.lstat().st_mtime >= newest:
                    continue
                if path.name.startswith(_PARTIAL_PREFIX):
                    path.unlink()
                elif SHA256.fullmatch(path.stem) and path.suffix[1:] in MEDIA_TYPES:
                    yield path


def suffix_of(blob: bytes) -> str:
    """The suffix that the content of a recording calls for."""
    return detect_container(blob).lower()


def sha256_of(blob: bytes) -> str:
    """The SHA-256 of some bytes, hexadecimal."""
    return hashlib.sha256(blob).hexdigest()
