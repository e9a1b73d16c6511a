"""The ways in which a recording reaches the event detector: events of a file with a model file."""

import csv
import io
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import soundfile
from websockets.sync.client import connect

import earful
from earful.training.evaluation.event_metrics import SoundEvent
from tests.fixtures.server import EARFUL, running_server

# Finds the events of a recording with a model file.
Way = Callable[[Path, Path], list[SoundEvent]]
# A microphone would give frames of this length.
FRAME_SECONDS = 0.04


def by_python(model: Path, recording: Path) -> list[SoundEvent]:
    return [SoundEvent(e.start, e.end, e.label) for e in earful.load(model).events(recording)]


def by_command(model: Path, recording: Path) -> list[SoundEvent]:
    command = [*EARFUL, "classify", str(recording), "--model", str(model), "--mode", "events"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = csv.DictReader(io.StringIO(done.stdout))
    return [SoundEvent(float(r["start"]), float(r["end"]), r["label"]) for r in rows if r["label"]]


def by_upload(model: Path, recording: Path) -> list[SoundEvent]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), model) as server,
        server.client() as client,
    ):
        response = client.post("/v1/classify", content=recording.read_bytes(), timeout=600)
    [result] = response.raise_for_status().json()["results"]
    return [SoundEvent(e["start"], e["end"], e["label"]) for e in result["events"]]


def by_stream(model: Path, recording: Path) -> list[SoundEvent]:
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), model) as server:
        return stream_file(server.url, recording)


def stream_file(server_url: str, recording: Path) -> list[SoundEvent]:
    """The events of a mono file of 16-bit samples that is sent frame by frame."""
    sound, rate_hz = soundfile.read(recording, dtype="int16")
    frame = round(FRAME_SECONDS * rate_hz)
    events = []
    with connect(server_url.replace("http", "ws") + "/v1/stream", proxy=None) as socket:
        socket.send(json.dumps({"sample_rate_hz": rate_hz, "hop_seconds": 0.5}))
        for start in range(0, len(sound), frame):
            socket.send(sound[start : start + frame].tobytes())
        socket.send(json.dumps({"type": "end"}))
        for message in map(json.loads, socket):
            if message["type"] == "error":
                raise RuntimeError(message["error"]["message"])
            if message["type"] == "event":
                events.append(SoundEvent(message["start"], message["end"], message["label"]))
    return events


WAYS: dict[str, Way] = {
    "python": by_python,
    "command": by_command,
    "upload": by_upload,
    "stream": by_stream,
}
