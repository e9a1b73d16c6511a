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

import numpy as np
from wyoming.audio import AudioChunk, AudioFormat, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event as Message
from wyoming.event import async_read_event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, NotDetected

from earful.data.audio.hop_windows import StreamResampler
from earful.models.bundle.event_options import EventOptions, default_min_score
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log
from earful.service.events import Event
from earful.service.http.app_state import Service
from earful.service.http.stream_events import StreamEvents
from earful.service.wyoming.limited_reader import LimitedReader
from earful.service.wyoming.wake_words import (
    check_format,
    describe,
    to_detection,
    to_waveform,
    wanted_labels,
)

_MAX_HEAD_BYTES = 65_536
# What a message of another version or of no version gives while it is parsed.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@contextlib.asynccontextmanager
async def serve_wyoming(service: Service, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket while the context is open."""
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()

    def accept() -> asyncio.StreamReaderProtocol:
        reader = LimitedReader(limit=_MAX_HEAD_BYTES, loop=loop)
        return asyncio.StreamReaderProtocol(reader, start, loop=loop)

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Those that only ask for the labels count too.
        if len(tasks) >= 2 * service.settings.max_streams:
            writer.close()
            return
        task = loop.create_task(_serve(service, reader, writer))
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
    service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    connection = _Connection(service, writer)
    try:
        while (message := await _read(reader)) is not None:
            await connection.handle(message)
    except RequestError as error:
        service.metrics.rejected.labels(error.code).inc()
        with contextlib.suppress(ConnectionError):
            await async_write_event(Error(text=str(error), code=error.code).event(), writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the satellite is gone
    except Exception as exception:  # noqa: BLE001 - the entry of a connection
        log(logging.ERROR, "unexpected_error", {"where": "wyoming"}, exception)
    finally:
        connection.end_stream()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Message | None:
    try:
        return await async_read_event(reader)
    except _MALFORMED as error:
        raise RequestError("malformed_request", "this is no message of Wyoming") from error


class _Connection:
    """One satellite: what it waits for, and its stream."""

    def __init__(self, service: Service, writer: asyncio.StreamWriter) -> None:
        self._service, self._writer = service, writer
        self._names: list[str] | None = None
        self._stream: _Stream | None = None

    async def handle(self, message: Message) -> None:
        """Answer a message; of a kind that is not known, nothing happens, as the protocol asks."""
        try:
            if Describe.is_type(message.type):
                await self._send(describe(self._service.loaded_model()).event())
            elif Ping.is_type(message.type):
                await self._send(Pong(text=Ping.from_event(message).text).event())
            elif Detect.is_type(message.type):
                self._names = Detect.from_event(message).names
            elif AudioStart.is_type(message.type):
                self._start_stream(AudioStart.from_event(message))
            elif AudioChunk.is_type(message.type):
                await self._add(AudioChunk.from_event(message))
            elif AudioStop.is_type(message.type):
                await self._stop()
        except _MALFORMED as error:
            raise RequestError(
                "malformed_request", f"a message {message.type!r:.40} lacks what it needs: {error}"
            ) from error

    def end_stream(self) -> None:
        """Give back the place of the stream."""
        if self._stream is not None:
            self._stream = None
            self._service.open_streams -= 1
            self._service.metrics.streams.dec()

    def _start_stream(self, audio: AudioFormat) -> "_Stream":
        self.end_stream()
        service = self._service
        check_format(audio, service.settings.audio_limits())
        if service.open_streams >= service.settings.max_streams:
            raise RequestError("queue_full", f"{service.open_streams} streams are open, the most")
        stream = _Stream(service, audio, self._names)
        self._stream = stream
        service.open_streams += 1
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

    async def _tell(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            await self._send(to_detection(event).event())

    async def _send(self, message: Message) -> None:
        await async_write_event(message, self._writer)


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
            raise RequestError(
                "malformed_request", "the format of the audio changed; send audio-stop before"
            )

    def feed(self, audio: bytes) -> AsyncIterator[Event]:
        """The wanted events that the next samples decide."""
        samples = to_waveform(audio, self._audio.channels)
        return self._choose(self._events.feed(self._resampler.feed(samples)))

    async def finish(self) -> AsyncIterator[Event]:
        """The wanted events that the end decides."""
        rest = self._resampler.feed(np.zeros(0, np.float32), last=True)
        for events in (self._events.feed(rest), self._events.finish()):
            async for event in self._choose(events):
                yield event

    async def _choose(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            if event.label in self._wanted:
                self.has_detected = True
                yield event
