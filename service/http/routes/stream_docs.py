"""``GET /v1/stream``: documents the WebSocket, for which OpenAPI has no words.

A WebSocket starts as a GET that asks for an upgrade, so the entry is true. A plain GET is told how
to connect.
"""

from typing import Any

from fastapi import FastAPI

from earful.service.core.errors import RequestError
from earful.service.http.schemas import ErrorResponse

DESCRIPTION = """
Connect with a WebSocket: `ws://HOST/v1/stream`, or `wss://` behind TLS.

| from | message | when |
|---|---|---|
| client | `{"sample_rate_hz": 16000, "encoding": "pcm_s16le"}` | first, as text |
| server | `{"type": "ready", "model": {...}, "labels": [...], "options": {...}}` | once |
| client | mono PCM frames of any size up to 1 MB | binary, repeatedly |
| server | `{"type": "result", "start", "end", "label", "score"}` | each hop |
| server | `{"type": "event", "start", "end", "label", "score", "scores"}` | each event |
| client | `{"type": "end"}` | or closes the socket |
| server | `{"type": "end", "seconds"}` | last |

Times are seconds from the first sample. A quiet window has the label `null`.

The first message may also set `hop_seconds`, `min_score`, `min_gap_seconds`, `smoothing_hops`, and
`api_key` where browsers cannot send a header. `encoding` is `pcm_s16le` or `pcm_f32le`.

An error is sent as `{"type": "error", "error": {"code", "message"}}`, then the server closes the
socket: with code 1013 if another attempt may succeed later, else with 1008.
"""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    101: {"description": "the WebSocket is open"},
    426: {"model": ErrorResponse, "description": "not a WebSocket"},
}


def add_stream_docs(app: FastAPI) -> None:
    @app.get(
        "/v1/stream",
        summary="WebSocket: live audio to events",
        description=DESCRIPTION,
        status_code=101,
        responses=_RESPONSES,
    )
    async def explain() -> None:
        raise RequestError(
            "upgrade_required",
            "this is a WebSocket: connect to ws:// (or wss://) at this address; /docs lists its "
            "messages",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )
