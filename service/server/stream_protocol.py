"""WebSocket connections with limits for a client that does not read."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from earful.service.server.connection_limits import ConnectionLimits, WriteWatch


class LimitedStreamProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, whose handshake ``LimitedHttpProtocol`` has received.

    The route limits the time between messages; uvicorn's pings find clients that have vanished.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits: ConnectionLimits = app_state["connection_limits"]
        self._writes = WriteWatch()
        self._since = self._limits.now

    def pause_writing(self) -> None:
        """Read no more either: every ping that is received is answered."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def check_time(self, now: float) -> None:
        settings = self._limits.settings
        if not self.handshake_complete and now - self._since > settings.header_seconds:
            self._limits.count_closed("slow_headers")
            self.transport.abort()
        elif self._writes.is_stalled(self.transport, now, settings.write_stall_seconds):
            self._limits.count_closed("not_reading")
            self.transport.abort()

    def idle_order(self) -> int | None:
        return None

    def close_idle(self) -> None:
        """Streams are never idle."""
