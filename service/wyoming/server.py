"""Serves wake words: a satellite sends audio, and is told when a label was heard in it.

    describe -> info                      the labels
    detect, audio-start, audio-chunk ...  -> detection, one for each event of a wanted label
    audio-stop -> not-detected            if there was none

The protocol knows no keys and no encryption: who reaches the port may use it (deploy/SECURITY.md).
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import TypeVar, cast

import numpy as np
from wyoming.audio import AudioChunk, AudioFormat, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event as Message
from wyoming.event import Eventable, async_read_event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from earful.data.audio.hop_windows import StreamResampler
from earful.models.bundle.event_options import EventOptions, default_min_score
from earful.service.core.errors import COUNTED_PER_FILE, RequestError, malformed
from earful.service.core.request_log import log
from earful.service.events import Event
from earful.service.http.app_state import Service
from earful.service.http.stream_events import StreamEvents
from earful.service.wyoming.limited_reader import LimitedReader
from earful.service.wyoming.wake_words import (
    check_format,
    describe,
    to_detections,
    to_waveform,
    wanted_labels,
)

T = TypeVar("T", bound=Eventable)
F = TypeVar("F", AudioStart, AudioChunk)
_MAX_HEAD_BYTES = 65_536
# A satellite reads what it is told; one that does not is disconnected.
_WRITE_SECONDS = 10.0
# What a message of another version or of no version gives while it is parsed.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@contextlib.asynccontextmanager
async def serve_wyoming(service: Service, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket while the context is open."""
    tasks: set[asyncio.Task[None]] = set()
    streams: set[_Stream] = set()
    loop = asyncio.get_running_loop()

    def accept() -> asyncio.StreamReaderProtocol:
        reader = LimitedReader(limit=_MAX_HEAD_BYTES, loop=loop)
        return asyncio.StreamReaderProtocol(reader, start, loop=loop)

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Those that only ask for the labels count too.
        if len(tasks) >= 2 * service.settings.max_streams:
            writer.close()
            return
        task = loop.create_task(_serve(service, streams, cast("LimitedReader", reader), writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await loop.create_server(accept, sock=listener)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(
    service: Service,
    streams: "set[_Stream]",
    reader: LimitedReader,
    writer: asyncio.StreamWriter,
) -> None:
    connection = _Connection(service, streams, writer)
    try:
        while (message := await _read(reader)) is not None:
            await connection.handle(message)
    except RequestError as error:
        if error.code not in COUNTED_PER_FILE:
            service.metrics.rejected.labels(error.code).inc()
        with contextlib.suppress(OSError):
            await _write(writer, Error(text=str(error), code=error.code).event())
    except (OSError, asyncio.IncompleteReadError):
        pass  # the satellite is gone
    except Exception as exception:  # noqa: BLE001 - the entry of a connection
        log(logging.ERROR, "unexpected_error", {"where": "wyoming"}, exception)
    finally:
        connection.end_stream()
        await _close(writer)


async def _write(writer: asyncio.StreamWriter, message: Message) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await async_write_event(message, writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, also if what was written is never read."""
    try:
        writer.close()
        async with asyncio.timeout(_WRITE_SECONDS):
            await writer.wait_closed()
    except OSError:  # too slow, or gone
        writer.transport.abort()


async def _read(reader: LimitedReader) -> Message | None:
    """The next message; None at the end of the stream.

    Raises:
        RequestError: it is no message.
    """
    problem = malformed("this is no message of Wyoming")
    try:
        message = await async_read_event(reader)
    except _MALFORMED as error:
        raise problem from error
    if message is None and reader.has_read_head:
        raise problem
    return message


class _Connection:
    """One satellite: what it waits for, and its stream.

    ``streams`` are those of all satellites. Those of the WebSocket, which may need a key, count for
    themselves.
    """

    def __init__(
        self, service: Service, streams: "set[_Stream]", writer: asyncio.StreamWriter
    ) -> None:
        self._service, self._streams, self._writer = service, streams, writer
        self._names: list[str] | None = None
        self._stream: _Stream | None = None

    async def handle(self, message: Message) -> None:
        """Answer a message; of a kind that is not known, nothing happens, as the protocol asks."""
        if Describe.is_type(message.type):
            await self._send(describe(self._service.loaded_model()).event())
        elif Ping.is_type(message.type):
            await self._send(Pong(text=_parse(Ping, message).text).event())
        elif Detect.is_type(message.type):
            self._names = _parse_names(message)
        elif AudioStart.is_type(message.type):
            self._start_stream(_parse_format(AudioStart, message))
        elif AudioChunk.is_type(message.type):
            await self._add(_parse_format(AudioChunk, message))
        elif AudioStop.is_type(message.type):
            await self._stop()

    def end_stream(self) -> None:
        if self._stream is not None:
            self._streams.remove(self._stream)
            self._stream = None
            self._service.metrics.streams.dec()

    def _start_stream(self, audio: AudioFormat) -> "_Stream":
        self.end_stream()
        service = self._service
        check_format(audio, service.settings.audio_limits())
        max_streams = service.settings.max_streams
        if len(self._streams) >= max_streams:
            raise RequestError("queue_full", f"{max_streams} streams are open, the most")
        stream = self._stream = _Stream(service, audio, self._names)
        self._streams.add(stream)
        service.metrics.streams.inc()
        return stream

    async def _add(self, chunk: AudioChunk) -> None:
        stream = self._stream or self._start_stream(chunk)  # some send no start
        stream.check_same(chunk)
        await self._tell(stream.feed(chunk.audio))

    async def _stop(self) -> None:
        if self._stream is None:
            return
        await self._tell(self._stream.finish())
        if not self._stream.has_detected:
            await self._send(NotDetected().event())
        self.end_stream()

    async def _tell(self, detections: AsyncIterator[Detection]) -> None:
        async for detection in detections:
            await self._send(detection.event())

    async def _send(self, message: Message) -> None:
        await _write(self._writer, message)


def _parse(kind: type[T], message: Message) -> T:
    """A message as its class.

    Raises:
        RequestError: it lacks a value.
    """
    try:
        return kind.from_event(message)  # type: ignore[return-value]
    except _MALFORMED as error:
        raise malformed(f"a message {message.type!r:.40} lacks what it needs: {error}") from error


def _parse_format(kind: type[F], message: Message) -> F:
    """A message with the format of audio, which is checked to be of numbers."""
    audio = _parse(kind, message)
    if not all(type(value) is int for value in (audio.rate, audio.width, audio.channels)):
        raise malformed("rate, width and channels must be whole numbers")
    return audio


def _parse_names(message: Message) -> list[str] | None:
    names = _parse(Detect, message).names
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise malformed("the names to detect must be a list of texts")
    return names


class _Stream:
    """The audio from a start to its stop."""

    def __init__(self, service: Service, audio: AudioFormat, names: list[str] | None) -> None:
        loaded_model = service.loaded_model()
        classifier = loaded_model.classifier
        self._audio = audio
        self._wanted = wanted_labels(names, classifier.labels)
        self._resampler = StreamResampler(audio.rate, classifier.sample_rate_hz)
        options = EventOptions(min_score=default_min_score(classifier.metadata))
        self._events = StreamEvents(service, loaded_model, options)
        self.has_detected = False

    def check_same(self, chunk: AudioFormat) -> None:
        audio = self._audio
        if (chunk.rate, chunk.width, chunk.channels) != (audio.rate, audio.width, audio.channels):
            raise malformed("the format of the audio changed; send audio-stop before")

    def feed(self, audio: bytes) -> AsyncIterator[Detection]:
        """The wanted labels that the next samples decide."""
        samples = to_waveform(audio, self._audio.channels)
        return self._choose(self._events.feed(self._resampler.feed(samples)))

    async def finish(self) -> AsyncIterator[Detection]:
        """The wanted labels that the end decides."""
        rest = self._resampler.feed(np.zeros(0, np.float32), last=True)
        for events in (self._events.feed(rest), self._events.finish()):
            async for detection in self._choose(events):
                yield detection

    async def _choose(self, events: AsyncIterator[Event]) -> AsyncIterator[Detection]:
        async for event in events:
            for detection in to_detections(event, self._wanted):
                self.has_detected = True
                yield detection
