"""``WS /v1/stream``: PCM in, a result per hop and an event per word out.

    client  {"sample_rate_hz": 16000, "encoding": "pcm_s16le"}             first, as text
    server  {"type": "ready", "model": {...}, "labels": [...], "options": {...}}
    client  mono PCM frames of any size                                    binary, again and again
    server  {"type": "result", "start", "end", "label", "score"}           each hop
    server  {"type": "event", "start", "end", "label", "score", "scores"}  each word
    client  {"type": "end"}                                                or it just closes
    server  {"type": "end", "seconds"}

Times are seconds from the first sample. A quiet window has the label null. What is wrong comes as
``{"type": "error", "error": {"code", "message"}}``, and the stream closes.
"""

import asyncio
import dataclasses
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from earful.data.audio.decode import MAX_SAMPLE_MAGNITUDE, Waveform
from earful.models.bundle.decision import SAID_FROM
from earful.service.classifier import Prediction, rank
from earful.service.core.errors import COUNTED_BY_FILE, RequestError, to_json
from earful.service.core.request_log import log, new_id
from earful.service.core.settings import MAX_FRAME_BYTES
from earful.service.events import Event, Hop, StreamOptions, Windows, Words
from earful.service.http.app_state import SCORE_DIGITS, Service, listed
from earful.service.inference.hot_reload import Served

ENCODINGS = {"pcm_s16le": ("<i2", 1 / 32768), "pcm_f32le": ("<f4", 1.0)}
IDLE_SECONDS = 30.0
_RETRY_SECONDS = 0.05
OPENING_SECONDS = 5.0
_LIMITS = {
    "hop_seconds": (0.02, 1.0),
    "min_score": (0.0, 1.0),
    "min_gap_seconds": (0.0, 60.0),
    "smoothing_hops": (1, 100),
}
# WebSocket close codes: policy violation, and try again later (RFC 6455, IANA registry).
_CLOSE_REFUSED, _CLOSE_LATER = 1008, 1013


@dataclass(frozen=True)
class _Opened:
    options: StreamOptions
    encoding: str


def add_stream_route(app: FastAPI, service: Service) -> None:
    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        facts: dict[str, Any] = {
            "request_id": new_id(), "client": socket.client.host if socket.client else "",
            "seconds": 0.0, "events": 0, "ended": "by the client",
        }  # fmt: skip
        try:
            await _serve(socket, service, facts)
        except RequestError as error:
            facts["ended"] = error.code
            if error.code not in COUNTED_BY_FILE:
                service.metrics.rejected.labels(error.code).inc()
            await _refuse(socket, error)
        except WebSocketDisconnect:
            facts["ended"] = "by leaving"
        except Exception as fault:  # noqa: BLE001 - nobody above tells the client
            facts["ended"] = "internal_error"
            log(logging.ERROR, "fault", facts, fault)
            await _refuse(socket, RequestError("internal_error", "the service failed"))
        finally:
            log(logging.INFO, "stream", facts)


async def _serve(socket: WebSocket, service: Service, facts: dict[str, Any]) -> None:
    opened = _parse_opening(await _receive(socket, OPENING_SECONDS), service, socket)
    served = service.served()
    if opened.options.hop_seconds > served.classifier.metadata.features.clip_seconds:
        raise _malformed("hop_seconds is more than the clip of the model: sound would be skipped")
    if service.open_streams >= service.settings.max_streams:
        raise RequestError("queue_full", f"{service.open_streams} streams are open; try again")
    service.open_streams += 1
    service.metrics.streams.inc()
    try:
        await _converse(socket, service, served, opened, facts)
    finally:
        service.open_streams -= 1
        service.metrics.streams.dec()


async def _converse(
    socket: WebSocket, service: Service, served: Served, opened: _Opened, facts: dict[str, Any]
) -> None:
    features = served.classifier.metadata.features
    await _send(
        socket,
        {
            "type": "ready",
            "model": served.info,
            "labels": list(served.classifier.labels),
            "options": dataclasses.asdict(opened.options) | {"encoding": opened.encoding},
        },
    )
    windows = Windows(opened.options, features.sample_rate_hz, features.clip_samples)
    words = Words(opened.options)
    received = 0
    while True:
        message = await _receive(socket, IDLE_SECONDS)
        if isinstance(message, str):
            if _object(message).get("type") != "end":
                raise _malformed('text after the first message can only be {"type": "end"}')
            break
        samples = _samples(message, opened.encoding)
        received += len(samples)
        facts["seconds"] = round(received / opened.options.sample_rate_hz, 3)
        for hop in windows.feed(samples):
            facts["events"] += await _answer(socket, service, served, words, hop)
    # The last word has yet to pass the middle of a window.
    silence = np.zeros(round(opened.options.sample_rate_hz * features.clip_seconds), np.float32)
    for hop in windows.feed(silence):
        facts["events"] += await _answer(socket, service, served, words, hop)
    seconds = received / opened.options.sample_rate_hz
    await _send(socket, {"type": "end", "seconds": round(seconds, 6)})
    await socket.close()


async def _answer(
    socket: WebSocket, service: Service, served: Served, words: Words, hop: Hop
) -> int:
    """Send the result of one window, and the event if a word passes its middle; how many events."""
    await asyncio.sleep(0)  # frames of a minute must not keep others waiting
    found = await _classify(service, served, hop) if hop.centre is not None else None
    result: dict[str, Any] = {"type": "result", **_times(hop.start_seconds, hop.end_seconds)}
    result["label"] = found.label if found else None
    result["score"] = round(found.score, SCORE_DIGITS) if found else 0.0
    await _send(socket, result)
    event = words.hear(hop, found.best.scores if found else None)
    if event is None:
        return 0
    service.metrics.events.inc()
    await _send(socket, _event(event, served, words.min_score))
    return 1


async def _classify(service: Service, served: Served, hop: Hop) -> Prediction:
    """Waits for room in the queue: a stream that has begun is not ended by a busy moment."""
    deadline = service.deadline()
    while True:
        try:
            [answer] = await service.answer([hop.waveform], served, deadline)
        except RequestError as error:
            if error.code != "queue_full" or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        if not isinstance(answer, Prediction):
            raise RequestError(answer.code, str(answer))
        return answer


def _event(event: Event, served: Served, min_score: float) -> dict[str, Any]:
    """An event; of several labels those that score so high as an event must."""
    ranked = rank(served.classifier.labels, event.scores)
    label, score = served.classifier.answer(event.scores, max(SAID_FROM, min_score))
    return {
        "type": "event",
        **_times(event.start_seconds, event.end_seconds),
        "label": label,
        "score": round(score, SCORE_DIGITS),
        "scores": listed(ranked),
    }


def _times(start: float, end: float) -> dict[str, float]:
    return {"start": round(max(0.0, start), 3), "end": round(end, 3)}


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await socket.send_text(to_json(message))


async def _receive(socket: WebSocket, within_seconds: float) -> str | bytes:
    try:
        async with asyncio.timeout(within_seconds):
            message = await socket.receive()
    except TimeoutError as error:
        raise RequestError("too_slow", f"nothing came for {within_seconds:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text, frame = message.get("text"), message.get("bytes")
    return text if text is not None else bytes(frame or b"")


def _parse_opening(first: str | bytes, service: Service, socket: WebSocket) -> _Opened:
    if isinstance(first, bytes):
        raise _malformed('the first message must be text: {"sample_rate_hz": ..., "encoding": ...}')
    given = _object(first)
    key = given.pop("api_key", None)
    if key is None:
        service.keys.check(socket.headers, "classify")
    else:
        service.keys.check_key(str(key), "classify")
    encoding = given.pop("encoding", "pcm_s16le")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise _malformed(f"encoding is one of {', '.join(ENCODINGS)}, found {encoding!r:.100}")
    known = {field.name for field in dataclasses.fields(StreamOptions)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise _malformed(
            f"no option is called {', '.join(unknown)[:200]}; there are encoding, api_key, "
            f"{', '.join(sorted(known))}"
        )
    rate_hz = given.get("sample_rate_hz")
    limits = service.settings.limits()
    low, high = limits.min_sample_rate_hz, limits.max_sample_rate_hz
    if type(rate_hz) is not int or not low <= rate_hz <= high:
        raise RequestError(
            "bad_sample_rate", f"sample_rate_hz is a whole number from {low} to {high}"
        )
    for name, (least, most) in _LIMITS.items():
        value = given.get(name, least)
        whole = name == "smoothing_hops"
        if type(value) not in ((int,) if whole else (int, float)) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise _malformed(f"{name} is {kind} from {least} to {most}, found {value!r:.100}")
    return _Opened(StreamOptions(**given), encoding)


def _samples(frame: bytes, encoding: str) -> Waveform:
    """A frame as float32 (samples,)."""
    if len(frame) > MAX_FRAME_BYTES:
        raise RequestError("too_large", f"a frame has at most {MAX_FRAME_BYTES} bytes")
    kind, scale = ENCODINGS[encoding]
    width = np.dtype(kind).itemsize
    if len(frame) % width:
        raise _malformed(f"a frame of {len(frame)} bytes, and a sample has {width}")
    samples = np.frombuffer(frame, kind).astype(np.float32) * np.float32(scale)
    peak = np.abs(samples).max(initial=0)
    if not np.isfinite(peak):
        raise RequestError("not_finite", "samples must be finite")
    if peak > MAX_SAMPLE_MAGNITUDE:
        raise RequestError("out_of_range", f"samples reach {peak:.3g} where full scale is 1.0")
    return samples


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed("text messages are JSON objects") from error
    if not isinstance(found, dict):
        raise _malformed("text messages are JSON objects")
    return found


def _malformed(message: str) -> RequestError:
    return RequestError("malformed_request", message)


async def _refuse(socket: WebSocket, error: RequestError) -> None:
    code = _CLOSE_LATER if error.code in ("queue_full", "not_ready") else _CLOSE_REFUSED
    try:
        await _send(socket, {"type": "error", "error": {"code": error.code, "message": str(error)}})
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):  # it has gone meanwhile
        return
