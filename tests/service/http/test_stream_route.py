"""``WS /v1/stream`` of a server in its own process, with a real client."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from earful.service.classifier import Classifier
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, noise, overlay_at, tone, wav

KEY = "k" * 20
OPENING = {"sample_rate_hz": RATE_HZ, "encoding": "pcm_s16le"}


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("stream"), model, EARFUL_MAX_STREAMS="2"
    ) as started:
        yield started


def open_stream(server: RunningServer) -> ClientConnection:
    return connect(server.url.replace("http", "ws") + "/v1/stream", proxy=None)


def exchange(socket: ClientConnection, *messages: Any) -> list[dict[str, Any]]:
    """Send dicts as text and bytes as frames, then read until the server closes."""
    replies = []
    with contextlib.suppress(ConnectionClosed):  # it may close before all messages are sent
        for message in messages:
            socket.send(json.dumps(message) if isinstance(message, dict) else message)
    try:
        while True:
            replies.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed:
        return replies


def pcm(samples: Any) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def test_sounds_give_events_and_hops_give_results(
    server: RunningServer, classifier: Classifier
) -> None:
    sound = overlay_at(tone("high"), 1.8, overlay_at(tone("low"), 0.5, noise(3.0, 1e-4)))
    frames = [pcm(sound[start : start + 320]) for start in range(0, len(sound), 320)]
    with open_stream(server) as socket:
        replies = exchange(socket, OPENING, *frames, {"type": "end"})
    assert replies[0]["type"] == "ready"
    assert set(replies[0]["labels"]) == set(PITCHES_HZ)
    assert replies[0]["options"]["hop_seconds"] == 0.1
    assert replies[0]["options"]["min_score"] == classifier.metadata.rejection_threshold
    assert replies[-1] == {"type": "end", "seconds": 3.0}
    events = [message for message in replies if message["type"] == "event"]
    assert [event["label"] for event in events] == ["low", "high"]
    assert [event["start"] for event in events] == pytest.approx([0.5, 1.8], abs=0.05)
    assert {score["label"] for score in events[0]["scores"]} == set(PITCHES_HZ)
    results = [message for message in replies if message["type"] == "result"]
    assert len(results) == 30  # one per hop
    assert results[0]["label"] is None
    assert {"low", "high"} <= {result["label"] for result in results}


def test_a_client_may_set_another_minimum_score(server: RunningServer) -> None:
    with open_stream(server) as socket:
        replies = exchange(socket, OPENING | {"min_score": 0.25}, {"type": "end"})
    assert replies[0]["options"]["min_score"] == 0.25


def test_float_frames_and_another_hop_are_accepted(server: RunningServer) -> None:
    sound = overlay_at(tone("mid"), 0.5, noise(1.5, 1e-4))
    opening = OPENING | {"encoding": "pcm_f32le", "hop_seconds": 0.25}
    with open_stream(server) as socket:
        replies = exchange(socket, opening, sound.astype("<f4").tobytes(), {"type": "end"})
    ends = [message["end"] for message in replies if message["type"] == "result"]
    assert ends[:3] == [0.25, 0.5, 0.75]


BAD: dict[str, tuple[list[Any], str]] = {
    "sound first": ([b"\x00\x00"], "malformed_request"),
    "no JSON": (["{"], "malformed_request"),
    "a list": (["[]"], "malformed_request"),
    "no rate": ([{}], "bad_sample_rate"),
    "a rate of 1 Hz": ([{"sample_rate_hz": 1}], "bad_sample_rate"),
    "a rate that is text": ([{"sample_rate_hz": "8000"}], "bad_sample_rate"),
    "another encoding": ([OPENING | {"encoding": "mp3"}], "malformed_request"),
    "an encoding that is a list": ([OPENING | {"encoding": []}], "malformed_request"),
    "an unknown option": ([OPENING | {"colour": 1}], "malformed_request"),
    "a hop beyond the clip": ([OPENING | {"hop_seconds": 3}], "malformed_request"),
    "half a character": ([OPENING | {"\ud800": 1}], "malformed_request"),
    "a hop of nothing": ([OPENING | {"hop_seconds": 0}], "malformed_request"),
    "smoothing over half": ([OPENING | {"smoothing_hops": 1.5}], "malformed_request"),
    "smoothing over true": ([OPENING | {"smoothing_hops": True}], "malformed_request"),
    "a score of null": ([OPENING | {"min_score": None}], "malformed_request"),
    "a score of NaN": ([OPENING | {"min_score": float("nan")}], "malformed_request"),
    "an option twice": (
        ['{"sample_rate_hz": 8000, "hop_seconds": 0.5, "hop_seconds": 0.1}'],
        "malformed_request",
    ),
    "half a sample": ([OPENING, b"\x00"], "malformed_request"),
    "text in between": ([OPENING, {"type": "pause"}], "malformed_request"),
    "NaN": ([OPENING | {"encoding": "pcm_f32le"}, b"\x00\x00\xc0\x7f"], "not_finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_sent_and_close_the_stream(server: RunningServer, name: str) -> None:
    messages, code = BAD[name]
    with open_stream(server) as socket:
        replies = exchange(socket, *messages)
        assert socket.close_code == 1008
    assert replies[-1]["type"] == "error"
    assert replies[-1]["error"]["code"] == code
    assert replies[-1]["error"]["message"]


def test_a_frame_beyond_the_limit_closes_the_stream(server: RunningServer) -> None:
    with open_stream(server) as socket:
        exchange(socket, OPENING, bytes(2_000_000))
        assert socket.close_code == 1009


def test_streams_above_the_limit_are_refused(server: RunningServer) -> None:
    with open_stream(server) as one, open_stream(server) as two:
        for socket in (one, two):
            socket.send(json.dumps(OPENING))
            assert json.loads(socket.recv(timeout=20))["type"] == "ready"
        with open_stream(server) as third:
            replies = exchange(third, OPENING)
            assert replies[-1]["error"]["code"] == "queue_full"
            assert third.close_code == 1013
    with open_stream(server) as again:
        assert exchange(again, OPENING, {"type": "end"})[-1]["type"] == "end"


@pytest.mark.slow
def test_a_stream_needs_a_key_if_keys_are_configured(model: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, model, EARFUL_API_KEYS=f"classify:{KEY}") as server:
        with open_stream(server) as socket:
            assert exchange(socket, OPENING)[-1]["error"]["code"] == "unauthorized"
        with open_stream(server) as socket:
            replies = exchange(socket, OPENING | {"api_key": KEY}, {"type": "end"})
            assert replies[-1]["type"] == "end"
        assert KEY not in server.log.read_text()


def test_readme_client_receives_the_events(server: RunningServer, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "service" / "README.md").read_text()
    match = re.search(r"```python\n(import json\n.*?)```", readme, re.DOTALL)
    assert match is not None
    client = match[1].replace("ws://127.0.0.1:8000", server.url.replace("http", "ws"))
    assert client != match[1]
    path = tmp_path / "recording.wav"
    path.write_bytes(
        wav(overlay_at(tone("high"), 1.8, overlay_at(tone("low"), 0.5, noise(3.0, 1e-4))))
    )
    done = subprocess.run(
        [sys.executable, "-c", client, str(path)], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^([\d.]+) s: (\w+) ", done.stdout, re.MULTILINE)
    assert [label for _, label in found] == ["low", "high"]
    assert [float(start) for start, _ in found] == pytest.approx([0.5, 1.8], abs=0.03)
