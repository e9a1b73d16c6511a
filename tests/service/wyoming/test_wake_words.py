"""The labels as wake words, with the protocol's own client and a real server."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from earful.data.audio.decode import Waveform
from earful.service.events import Event as WindowEvent
from earful.service.wyoming.wake_words import to_detections
from tests.fixtures.forked_command import run_forked
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import RATE_HZ, tone

CHUNK_SAMPLES = 1_024
QUIET = np.zeros(RATE_HZ, np.float32)


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("wyoming")
    with running_server(folder, model, "--wyoming", 0, EARFUL_MAX_STREAMS="2") as started:
        yield started
    assert "Traceback" not in started.log.read_text()


def port_of(server: RunningServer) -> int:
    match = re.search(r"wake words at tcp://127\.0\.0\.1:(\d+)", server.log.read_text())
    assert match
    return int(match[1])


@asynccontextmanager
async def satellite(server: RunningServer) -> AsyncIterator[AsyncTcpClient]:
    async with AsyncTcpClient("127.0.0.1", port_of(server)) as client:
        yield client


async def receive(client: AsyncTcpClient) -> Event:
    event = await asyncio.wait_for(client.read_event(), 30)
    assert event is not None
    return event


async def send_audio(
    client: AsyncTcpClient, waveform: Waveform, *, rate: int = RATE_HZ, channels: int = 1
) -> None:
    pcm = np.repeat((waveform * 32767).astype("<i2"), channels).tobytes()
    size = 2 * channels * CHUNK_SAMPLES
    for start in range(0, len(pcm), size):
        chunk = AudioChunk(rate, 2, channels, pcm[start : start + size])
        await client.write_event(chunk.event())


async def answers(client: AsyncTcpClient) -> list[str]:
    """Names of the detections until the stream has ended; empty if there were none."""
    await client.write_event(AudioStop().event())
    await client.write_event(Ping(text="end").event())
    names = []
    while not Pong.is_type((event := await receive(client)).type):
        if Detection.is_type(event.type):
            names.append(str(Detection.from_event(event).name))
        else:
            assert NotDetected.is_type(event.type), event
            assert not names
    return names


def test_the_labels_are_the_wake_words(server: RunningServer) -> None:
    async def test() -> None:
        async with satellite(server) as client:
            await client.write_event(Describe().event())
            [program] = Info.from_event(await receive(client)).wake
            assert program.name == "earful"
            assert [word.name for word in program.models] == ["high", "low", "mid"]
            assert all(word.installed for word in program.models)

    asyncio.run(test())


@pytest.mark.parametrize("channels", [1, 2])
def test_each_sound_of_a_wanted_label_is_told(server: RunningServer, channels: int) -> None:
    sounds = np.concatenate(
        [part for name in ("mid", "low", "mid") for part in (QUIET, tone(name, 0.5))] + [QUIET]
    )

    async def listen(names: list[str] | None) -> list[str]:
        async with satellite(server) as client:
            await client.write_event(Detect(names=names).event())
            await client.write_event(AudioStart(RATE_HZ, 2, channels).event())
            await send_audio(client, sounds, channels=channels)
            return await answers(client)

    assert asyncio.run(listen(None)) == ["mid", "low", "mid"]
    assert asyncio.run(listen(["low"])) == ["low"]
    assert asyncio.run(listen(["high"])) == []


def test_a_wake_word_is_told_while_the_audio_goes_on(server: RunningServer) -> None:
    async def test() -> None:
        async with satellite(server) as client:
            # Some satellites send neither detect nor audio-start.
            await send_audio(client, np.concatenate([QUIET, tone("low", 0.5), QUIET]))
            detection = Detection.from_event(await receive(client))
            assert detection.name == "low"
            assert detection.timestamp == pytest.approx(1500, abs=250)

    asyncio.run(test())


def test_each_wanted_label_of_several_at_once_is_told() -> None:
    event = WindowEvent(0.5, 1.25, "dog|siren", 0.9, np.ones(3, np.float32))
    detections = to_detections(event, frozenset({"siren", "cat"}))
    assert [(found.name, found.timestamp) for found in detections] == [("siren", 1250)]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([Detect(names=["nobody"]).event(), AudioStart(8000, 2, 1).event()], "no label"),
        ([AudioStart(16_000, 4, 1).event()], "2 bytes a sample"),
        ([AudioStart(1, 2, 1).event()], "the rate must be"),
        ([AudioStart(8000, 2, 1).event(), AudioChunk(16_000, 2, 1, b"ab").event()], "changed"),
        ([AudioChunk(8000, 2, 1, b"abc").event()], "within a sample"),
        ([Event("audio-chunk", {}, b"ab")], "lacks what it needs"),
        ([Event("audio-start", {"rate": "8", "width": 2, "channels": 1})], "whole numbers"),
        ([Event("detect", {"names": "low"})], "a list of texts"),
    ],
)
def test_what_cannot_be_served_is_an_error(
    server: RunningServer, messages: list[Event], reason: str
) -> None:
    async def test() -> None:
        async with satellite(server) as client:
            for message in messages:
                await client.write_event(message)
            error = Error.from_event(await receive(client))
            assert reason in error.text
            assert error.code
            assert await client.read_event() is None

    asyncio.run(test())


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        b'{"type": "audio-chunk", "payload_length": 10000000000}\n',
        b'{"type": "audio-chunk", "data_length": -1}\n',
        b"{" * 100_000,
        b'{"type": ' + b"[" * 50_000 + b"\n",
    ],
)
def test_what_is_no_message_is_told_and_ends_the_connection(
    server: RunningServer, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), 30) as connection:
        connection.settimeout(30)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b'"type": "error"' in answer
    assert b'"code": "malformed_request"' in answer or b'"code": "too_large"' in answer
    with server.client() as client:
        assert client.get("/readyz").status_code == 200


def test_streams_are_bounded_and_given_back(server: RunningServer) -> None:
    async def test() -> None:
        async with satellite(server) as one, satellite(server) as two, satellite(server) as three:
            for client in (one, two):
                await client.write_event(AudioStart(RATE_HZ, 2, 1).event())
                await client.write_event(Ping(text="a").event())
                await receive(client)
            await three.write_event(AudioStart(RATE_HZ, 2, 1).event())
            assert Error.from_event(await receive(three)).code == "queue_full"
            assert await answers(one) == []
        async with satellite(server) as four:
            await four.write_event(AudioStart(RATE_HZ, 2, 1).event())
            assert await answers(four) == []

    asyncio.run(test())


def test_a_taken_port_names_its_own_flag(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_forked(["serve", "--model", model, "--port", 0, "--wyoming", port])
    assert ended.returncode == 2
    assert f"port {port}: Address already in use; give another --host or --wyoming" in ended.stderr


def test_several_workers_are_refused(model: Path) -> None:
    words = ["serve", "--model", model, "--port", 0, "--wyoming", 0, "--workers", 2]
    ended = run_forked(words)
    assert ended.returncode == 2
    assert "--wyoming needs --workers 1" in ended.stderr
