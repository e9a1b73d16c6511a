"""The server needs one folder to write in, as the files for containers give it."""

import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.fixtures.read_only_root import read_only_but
from tests.fixtures.server import EARFUL, logged_url
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav
from tests.fixtures.waiting import wait_until
from tests.service.jobs.conftest import submit, wait_for_job

pytestmark = pytest.mark.slow


def test_the_server_writes_to_its_temporary_folder_alone(model: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "tmp", tmp_path / "server.log"
    folder.mkdir()
    options = ["--port", "0", "--workers", "2", "--save-recordings", "feedback"]
    command = read_only_but(folder, [*EARFUL, "serve", "--model", str(model), *options])
    # Without the settings of the other tests: the folders are the default ones.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("EARFUL_")}
    environment = usual | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stderr=file, env=environment) as process,
    ):
        try:
            url = logged_url(log, process)
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200)
                use(client)
            seen = Path(f"/proc/{process.pid}/root") / folder.relative_to("/")
            wait_until(lambda: list(seen.glob("artifacts/feedback/audio/*/*.wav")))
            assert (seen / "artifacts" / "feedback" / "feedback.db").is_file()
            assert (seen / "artifacts" / "jobs").is_dir()
        finally:
            process.terminate()
            process.wait(30)
    assert list(folder.iterdir()) == []  # what it wrote went with its own file system
    assert "Read-only file system" not in log.read_text()


def use(client: httpx.Client) -> None:
    """A large upload, a correction of a small one, a job, and the metrics of both workers."""
    sound = overlay_at(tone("mid"), 1.0, noise(90.0, 1e-4))
    large = wav(np.tile(sound, 2))
    assert len(large) > 2**20
    assert client.post("/v1/classify", content=large).status_code == 200
    [small] = client.post("/v1/classify", content=wav(tone("low"))).json()["results"]
    correction = {"prediction_id": small["prediction_id"], "label": "mid", "annotator": "anna"}
    audio = {"file": ("low.wav", wav(tone("low")))}
    assert client.post("/v1/feedback", data=correction, files=audio).status_code == 201
    assert wait_for_job(client, submit(client, large), "done", "failed")["status"] == "done"
    assert "earful_requests_total" in client.get("/metrics").text
