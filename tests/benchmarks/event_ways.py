"""The ways in which a recording reaches the event detector: events of a file with a model file."""

import csv
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import soundfile
from websockets.sync.client import connect

import earful
from earful.training.evaluation.event_metrics import SoundEvent
from tests.fixtures.server import EARFUL, running_server_afresh

# Finds the events of a recording with a model file.
Way = Callable[[Path, Path], list[SoundEvent]]
# A microphone would give frames of this length.
FRAME_SECONDS = 0.04
REQUEST_SECONDS = 600.0
UNFINISHED = ("waiting", "running")


def by_python(model: Path, recording: Path) -> list[SoundEvent]:
    return [SoundEvent(e.start, e.end, e.label) for e in earful.load(model).events(recording)]


def by_command(model: Path, recording: Path) -> list[SoundEvent]:
    command = [*EARFUL, "classify", str(recording), "--model", str(model), "--mode", "events"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = csv.DictReader(io.StringIO(done.stdout))
    return [SoundEvent(float(r["start"]), float(r["end"]), r["label"]) for r in rows if r["label"]]


def by_label_track(model: Path, recording: Path) -> list[SoundEvent]:
    """From the Audacity label track, whose lines are start, end and label."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*EARFUL, "classify", str(recording), "--model", str(model), "--mode", "events"]
        tracks = Path(folder) / "tracks"
        command += ["--format", "audacity", "--out", str(tracks)]
        subprocess.run(command, capture_output=True, check=True)
        [track] = tracks.rglob("*.txt")
        lines = [line.split("\t") for line in track.read_text().splitlines()]
    return [SoundEvent(float(start), float(end), label) for start, end, label in lines]


def by_upload(model: Path, recording: Path) -> list[SoundEvent]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server_afresh(Path(folder), model) as server,
    ):
        return upload_file(server.url, recording)


def upload_file(server_url: str, recording: Path) -> list[SoundEvent]:
    """The events of a file that is sent to ``POST /v1/classify``."""
    answer = httpx.post(
        f"{server_url}/v1/classify", content=recording.read_bytes(), timeout=REQUEST_SECONDS
    )
    [result] = answer.raise_for_status().json()["results"]
    return [SoundEvent(e["start"], e["end"], e["label"]) for e in result["events"]]


def by_job(model: Path, recording: Path) -> list[SoundEvent]:
    with tempfile.TemporaryDirectory() as folder:
        jobs = str(Path(folder) / "jobs")
        with running_server_afresh(Path(folder), model, EARFUL_JOBS_DIR=jobs) as server:
            return job_file(server.url, recording)


def job_file(server_url: str, recording: Path) -> list[SoundEvent]:
    """The events of a file that is sent to ``POST /v1/jobs``."""
    jobs = f"{server_url}/v1/jobs"
    created = httpx.post(jobs, content=recording.read_bytes(), timeout=REQUEST_SECONDS)
    job_id = created.raise_for_status().json()["id"]
    while (job := httpx.get(f"{jobs}/{job_id}").raise_for_status().json())["status"] in UNFINISHED:
        time.sleep(0.1)
    [result] = job["results"]
    return [SoundEvent(e["start"], e["end"], e["label"]) for e in result["events"]]


def by_stream(model: Path, recording: Path) -> list[SoundEvent]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server_afresh(Path(folder), model) as server,
    ):
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
    "track": by_label_track,
    "upload": by_upload,
    "job": by_job,
    "stream": by_stream,
}
