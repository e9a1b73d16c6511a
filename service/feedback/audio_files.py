"""The folder of saved recordings: one file each, named after the SHA-256 of its bytes.

FOLDER/ab/abcdef....wav    folders 0700, files 0600; written to a temporary file, then renamed
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
    "wav": "audio/wav",
    "w64": "audio/x-w64",
    "aiff": "audio/aiff",
    "au": "audio/basic",
    "caf": "audio/x-caf",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "sph": "audio/x-nist",
    "voc": "audio/x-voc",
    "ircam": "audio/x-ircam",
    "m4a": "audio/mp4",
    "mp4": "audio/mp4",
    "mov": "video/quicktime",
    "3gp": "audio/3gpp",
    "webm": "audio/webm",
    "mkv": "audio/x-matroska",
    "amr": "audio/amr",
    "aac": "audio/aac",
    "wma": "audio/x-ms-wma",
}
# A younger file without a row may still get one; an older one was left by a killed process.
ORPHAN_AGE_SECONDS = 3_600
_MARKER = ".earful-audio"
_PARTIAL_PREFIX = ".earful-part-"


class RecordingStore:
    """The recordings folder; the database holds the list of its recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def prepare(self, owner: str) -> None:
        """Create the folder, check that it is writable, and mark it with its database.

        ``owner`` is the database's ``PredictionIds.fingerprint``.

        Raises:
            FeedbackError: the folder cannot be used, or belongs to another database.
        """
        marker = self.folder / _MARKER
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), marker.open("x", encoding="ascii") as file:
                file.write(owner)
            marked_owner = marker.read_text("ascii", "replace")
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise FeedbackError(
                f"cannot save recordings in {self.folder}: {error.strerror}; "
                "set EARFUL_RECORDINGS_DIR to a writable folder"
            ) from error
        if marked_owner not in (owner, ""):  # empty: another worker is about to write the same
            raise FeedbackError(
                f"{self.folder} holds the recordings of another database; "
                "set EARFUL_RECORDINGS_DIR to a folder of its own"
            )

    def path(self, sha256: str, suffix: str) -> Path:
        """The path of a recording, whether it exists or not.

        Raises:
            ValueError: not a SHA-256, or an unknown suffix.
        """
        if not SHA256.fullmatch(sha256) or suffix not in MEDIA_TYPES:
            raise ValueError(f"not a recording name: {sha256[:80]!r}, {suffix[:8]!r}")
        return self.folder / sha256[:2] / f"{sha256}.{suffix}"

    def name(self, sha256: str, suffix: str) -> str:
        """The path of a recording as text."""
        return str(self.path(sha256, suffix))

    def write(self, sha256: str, suffix: str, blob: bytes, *, durable: bool = True) -> None:
        """Write a recording atomically; ``durable`` also syncs it to disk (survives power loss).

        Raises:
            DatabaseUnavailable: the file cannot be written.
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
            raise DatabaseUnavailable(
                f"cannot save a recording in {self.folder}: {error}"
            ) from error

    def remove(self, sha256: str, suffix: str) -> None:
        """Delete a recording if it exists.

        Raises:
            DatabaseUnavailable: it cannot be deleted.
        """
        try:
            self.path(sha256, suffix).unlink(missing_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(
                f"cannot delete {self.path(sha256, suffix)}: {error}"
            ) from error

    def complete_files(self) -> Iterator[Path]:
        """Yield recordings older than ``ORPHAN_AGE_SECONDS``; delete temporary files of that age.

        Yields nothing when the folder has no marker: it may be the mount point of a disk that is
        not mounted.
        """
        if not (self.folder / _MARKER).is_file():
            return
        newest = time.time() - ORPHAN_AGE_SECONDS
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):  # deleted by another worker
                if path.lstat().st_mtime >= newest:
                    continue
                if path.name.startswith(_PARTIAL_PREFIX):
                    path.unlink()
                elif SHA256.fullmatch(path.stem) and path.suffix[1:] in MEDIA_TYPES:
                    yield path


def suffix_of(blob: bytes) -> str:
    """The suffix for the container format of a recording, a key of ``MEDIA_TYPES``."""
    return detect_container(blob).lower()


def sha256_of(blob: bytes) -> str:
    """The SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(blob).hexdigest()
