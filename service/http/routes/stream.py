"""``WS /v1/stream``: PCM in, a result per hop and an event per sound out.

``DESCRIPTION`` lists the messages; ``stream_input`` checks and decodes those of the client.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from earful.data.audio.decode import Waveform
from earful.data.audio.hop_windows import HopWindow, HopWindower, StreamResampler
from earful.models.bundle.event_options import default_min_score
from earful.service.classifier import rank
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import COUNTED_PER_FILE, RequestError, malformed, to_json
from earful.service.core.request_log import log, new_request_id
from earful.service.core.result_json import label_scores
from earful.service.events import Event
from earful.service.http.app_state import Service
from earful.service.http.routes.stream_input import (
    StreamOptions,
    decode_message,
    parse_first_message,
    parse_options,
)
from earful.service.http.schemas import ErrorResponse
from earful.service.http.stream_events import StreamEvents
from earful.service.inference.hot_reload import LoadedModel

HANDSHAKE_SECONDS, IDLE_SECONDS = 5.0, 30.0
# WebSocket close codes: policy violation, and try again later (RFC 6455, IANA registry).
_CLOSE_REFUSED, _CLOSE_LATER = 1008, 1013
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


def add_stream_routes(app: FastAPI, service: Service) -> None:
    """Add the WebSocket, and a GET that stands for it in OpenAPI, which has no words for one.

    A WebSocket starts as a GET that asks for an upgrade, so the entry is true.
    """

    @app.get(
        "/v1/stream",
        summary="WebSocket: live audio to events",
        description=DESCRIPTION,
        status_code=101,
        responses={
            101: {"description": "the WebSocket is open"},
            426: {"model": ErrorResponse, "description": "not a WebSocket"},
        },
    )
    async def explain() -> None:
        raise RequestError(
            "upgrade_required",
            "this is a WebSocket: connect to ws:// (or wss://) at this address; /docs lists its "
            "messages",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        log_fields: dict[str, Any] = {
            "request_id": new_request_id(),
            "client": socket.client.host if socket.client else "",
            "seconds": 0.0,
            "events": 0,
            "ended": "by the client",
        }
        try:
            await _serve(socket, service, log_fields)
        except RequestError as error:
            log_fields["ended"] = error.code
            if error.code not in COUNTED_PER_FILE:
                service.metrics.rejected.labels(error.code).inc()
            await _send_error(socket, error)
        except WebSocketDisconnect:
            log_fields["ended"] = "by disconnecting"
        except Exception as exception:  # noqa: BLE001 - nothing above tells the client
            log_fields["ended"] = "internal_error"
            log(logging.ERROR, "unexpected_error", log_fields, exception)
            await _send_error(socket, RequestError("internal_error", "the service failed"))
        finally:
            log(logging.INFO, "stream", log_fields)


async def _serve(socket: WebSocket, service: Service, log_fields: dict[str, Any]) -> None:
    options = await _handshake(socket, service)
    loaded_model = service.loaded_model()
    metadata = loaded_model.classifier.metadata
    if options.min_score is None:
        options = options.model_copy(update={"min_score": default_min_score(metadata)})
    if options.hop_seconds > metadata.features.clip_seconds:
        raise malformed("hop_seconds is longer than the model's clip: audio would be skipped")
    if service.open_streams >= service.settings.max_streams:
        raise RequestError(
            "queue_full",
            f"{service.open_streams} streams are open, the most allowed; try again later",
        )
    service.open_streams += 1
    service.metrics.streams.inc()
    try:
        await _Stream(socket, service, loaded_model, options, log_fields).run()
    finally:
        service.open_streams -= 1
        service.metrics.streams.dec()


async def _handshake(socket: WebSocket, service: Service) -> StreamOptions:
    key, values = parse_first_message(await _receive(socket, HANDSHAKE_SECONDS))
    if key is None:
        service.keys.check(socket.headers, "classify")
    else:
        service.keys.check_key(key, "classify")
    return parse_options(values, service.settings.audio_limits())


class _Stream:
    """One stream, from the ready message to its end."""

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        loaded_model: LoadedModel,
        options: StreamOptions,
        log_fields: dict[str, Any],
    ) -> None:
        classifier = loaded_model.classifier
        rate_hz, clip_samples = classifier.sample_rate_hz, classifier.clip_samples
        self._socket, self._service, self._model = socket, service, loaded_model
        self._options, self._log_fields = options, log_fields
        self._resampler = StreamResampler(options.sample_rate_hz, rate_hz)
        self._windower = HopWindower(rate_hz, clip_samples, options.hop_seconds)
        self._events = StreamEvents(service, loaded_model, options.for_events())

    async def run(self) -> None:
        await _send(
            self._socket,
            {
                "type": "ready",
                "model": self._model.info,
                "labels": list(self._model.classifier.labels),
                "options": self._options.model_dump(),
            },
        )
        received, encoding = 0, self._options.encoding
        while True:
            message = await _receive(self._socket, IDLE_SECONDS)
            if (samples := decode_message(message, encoding)) is None:
                break
            received += len(samples)
            self._log_fields["seconds"] = round(received / self._options.sample_rate_hz, 3)
            await self._add(self._resampler.feed(samples))
        await self._add(self._resampler.feed(np.zeros(0, np.float32), last=True))
        await self._send_events(self._events.finish())
        seconds = received / self._options.sample_rate_hz
        await _send(self._socket, {"type": "end", "seconds": round(seconds, 6)})
        await self._socket.close()

    async def _add(self, samples: Waveform) -> None:
        """Send the results and events that these samples at the model's rate decide."""
        for window in self._windower.feed(samples):
            await self._send_result(window)
        await self._send_events(self._events.feed(samples))

    async def _send_result(self, window: HopWindow) -> None:
        await asyncio.sleep(0)  # a frame may hold many windows: let other requests run
        label, score = None, 0.0
        if not window.is_quiet:
            [prediction] = await self._events.classify([window.waveform])
            label, score = prediction.label, prediction.score
        times = _times(window.start_seconds, window.end_seconds)
        result = {"type": "result", **times, "label": label, "score": round(score, SCORE_DIGITS)}
        await _send(self._socket, result)

    async def _send_events(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._log_fields["events"] += 1
            ranked = rank(self._model.classifier.labels, event.scores)
            message = {
                "type": "event",
                **_times(event.start, event.end),
                "label": event.label,
                "score": round(event.score, SCORE_DIGITS),
                "scores": label_scores(ranked),
            }
            await _send(self._socket, message)


def _times(start: float, end: float) -> dict[str, float]:
    return {"start": round(max(0.0, start), 3), "end": round(end, 3)}


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await socket.send_text(to_json(message).decode())


async def _receive(socket: WebSocket, timeout_seconds: float) -> str | bytes:
    try:
        async with asyncio.timeout(timeout_seconds):
            message = await socket.receive()
    except TimeoutError as error:
        raise RequestError("too_slow", f"nothing was received for {timeout_seconds:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text, frame = message.get("text"), message.get("bytes")
    return text if text is not None else bytes(frame or b"")


async def _send_error(socket: WebSocket, error: RequestError) -> None:
    code = _CLOSE_LATER if error.code in ("queue_full", "not_ready") else _CLOSE_REFUSED
    try:
        await _send(socket, {"type": "error", "error": {"code": error.code, "message": str(error)}})
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):  # the client has disconnected
        return
