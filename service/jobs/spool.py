"""Writes the files of an upload to disk as they arrive."""

import io
import os
from pathlib import Path

from earful.service.jobs.records import JobUpload


class Spool:
    """The files of one job, written one after another into its folder; calls block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: io.FileIO | None = None
        self._filename, self._n_bytes = "", 0
        self.uploads: list[JobUpload] = []
        folder.mkdir(mode=0o700)

    @property
    def n_bytes(self) -> int:
        """Bytes of the file that is being written."""
        return self._n_bytes

    def begin_file(self, filename: str) -> None:
        """Start the next file."""
        self.end_file()
        self._filename, self._n_bytes = filename, 0
        self._file = (self._folder / str(len(self.uploads))).open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the file.

        Raises:
            OSError: the disk is full, for example.
        """
        if self._file is None:
            raise ValueError("no file was begun")
        left = memoryview(data)
        while left:  # a call may write less, at a limit or before the disk is full
            left = left[self._file.write(left) :]
        self._n_bytes += len(data)

    def end_file(self) -> None:
        """Make the file durable."""
        if self._file is None:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.uploads.append(JobUpload(self._filename, self._n_bytes))

    def close(self) -> None:
        """Close the file, also one that is incomplete."""
        if self._file is not None:
            self._file.close()
            self._file = None
