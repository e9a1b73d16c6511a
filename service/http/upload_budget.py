"""What all uploads together may hold, in memory and in temporary files."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from earful.service.core.arriving_file import ArrivingFile
from earful.service.core.errors import RequestError
from earful.service.core.settings import Settings
from earful.service.core.spooled_file import SpooledFile

# The bytes of a file, or the temporary file that holds them.
Content = bytes | SpooledFile


class UploadBudget:
    """Counts what all requests in progress hold.

    ``bytes_held`` are in memory, ``bytes_spooled`` in ``files_spooled`` temporary files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bytes_held = self.bytes_spooled = self.files_spooled = 0

    @contextmanager
    def reserved(self, n_bytes: int) -> Iterator[None]:
        """Count bytes that a request got from elsewhere than its body, until the context ends.

        Raises:
            RequestError: ``queue_full``.
        """
        self.reserve(n_bytes)
        try:
            yield
        finally:
            self.bytes_held -= n_bytes

    def reserve(self, n_bytes: int) -> None:
        """Count bytes of a request.

        Raises:
            RequestError: ``queue_full`` when all requests together hold too many.
        """
        if self.bytes_held + n_bytes > self._settings.max_bytes_in_flight:
            raise RequestError(
                "queue_full", "too many uploads at once; try again in 1 s", {"Retry-After": "1"}
            )
        self.bytes_held += n_bytes

    def check_spool(self, n_bytes: int, files: int = 0) -> None:
        """Check that this many more bytes and files fit on the disk.

        Raises:
            RequestError: ``queue_full``.
        """
        settings = self._settings
        if (
            self.bytes_spooled + n_bytes > settings.max_spool_bytes
            or self.files_spooled + files > settings.max_queue
        ):
            raise RequestError(
                "queue_full",
                "too many large uploads at once; try again in 10 s",
                {"Retry-After": "10"},
            )


class TemporaryFiles:
    """Keeps small files in memory, and writes large ones into temporary files."""

    store_all = False

    def __init__(self, budget: UploadBudget) -> None:
        self._budget = budget
        self._n_bytes = 0
        self._files: dict[ArrivingFile, SpooledFile] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    async def write(self, file: ArrivingFile) -> None:
        spooled = self._files.get(file)
        self._budget.check_spool(len(file.buffer), files=spooled is None)
        chunk = file.take()
        # Counted first: while the thread writes, other requests start.
        self._budget.bytes_spooled += len(chunk)
        self._n_bytes += len(chunk)
        if spooled is None:
            spooled = self._files[file] = SpooledFile()
            self._budget.files_spooled += 1
        await asyncio.to_thread(spooled.append, chunk)

    def content(self, file: ArrivingFile) -> Content:
        return self._files.get(file) or bytes(file.buffer)

    def close(self) -> None:
        """Delete the files."""
        self._budget.bytes_spooled -= self._n_bytes
        self._budget.files_spooled -= len(self._files)
        for spooled in self._files.values():
            spooled.close()
