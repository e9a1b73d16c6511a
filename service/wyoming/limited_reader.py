"""Reads the messages of a stranger: bounded in size, and in the time between them."""

import asyncio

from earful.service.core.errors import RequestError, malformed
from earful.service.core.settings import MAX_FRAME_BYTES

# A satellite that listens sends audio all the time.
IDLE_SECONDS = 60.0


class LimitedReader(asyncio.StreamReader):
    """A stream whose messages the package ``wyoming`` reads.

    It believes the lengths that a message declares, and reads for as long as it takes. It takes a
    head that is no JSON for the end of the stream; ``has_read_head`` tells them apart.
    """

    has_read_head = False

    async def readline(self) -> bytes:
        """The head of the next message.

        Raises:
            RequestError: ``too_slow``, or ``malformed_request`` if it has no end.
        """
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await super().readline()
        except TimeoutError as error:
            raise RequestError("too_slow", f"no message for {IDLE_SECONDS:g} s") from error
        except ValueError as error:
            raise malformed("the head of a message is too long") from error
        self.has_read_head = bool(line)
        return line

    async def readexactly(self, n: int) -> bytes:
        """The data or the audio of a message.

        Raises:
            RequestError: ``too_large`` or ``too_slow``.
        """
        if not 0 <= n <= MAX_FRAME_BYTES:
            raise RequestError("too_large", f"a message has at most {MAX_FRAME_BYTES} bytes")
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await super().readexactly(n)
        except TimeoutError as error:
            raise RequestError("too_slow", f"no message for {IDLE_SECONDS:g} s") from error
