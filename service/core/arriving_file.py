"""A file of a request while it arrives, and where its bytes go."""

from typing import Protocol


class ArrivingFile:
    """Its bytes are in ``buffer``, after ``n_stored`` that a sink has taken.

    A file of more than ``max_bytes`` is cut just above; the sink or the decoder refuses it.
    """

    __slots__ = ("buffer", "is_complete", "max_bytes", "n_stored", "name")

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name, self.max_bytes = name, max_bytes
        self.buffer = bytearray()
        self.n_stored = 0
        self.is_complete = False

    @property
    def n_bytes(self) -> int:
        return self.n_stored + len(self.buffer)

    def take(self) -> bytearray:
        """The bytes of the buffer, which is empty then."""
        chunk, self.buffer = self.buffer, bytearray()
        self.n_stored += len(chunk)
        return chunk


class FileSink(Protocol):
    """Where the bytes of files go, one file after another.

    Small files stay in memory unless ``store_all``.
    """

    store_all: bool

    async def write(self, file: ArrivingFile) -> None:
        """Take what is in the buffer: more than ``SPOOL_BYTES``, or the rest of the file.

        Raises:
            RequestError: the file is too large, or there is no room for it.
        """
