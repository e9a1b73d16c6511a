"""Serving loads no training package and sends no telemetry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from earful.service.feedback.database import open_database
from earful.service.feedback.database_url import DatabaseAddress

ROOT = Path(__file__).parents[3]
NEVER_WHILE_SERVING = {
    "torch",
    "torchaudio",
    "librosa",
    "pandas",
    "sklearn",
    "scipy",
    "matplotlib",
    "ray",
    "pyarrow",
    "fsspec",
    # Loaded with the first label, if the feedback database exists.
    "sqlalchemy",
}

SERVING = """
import json, sys
from pathlib import Path
from earful.service.server import app, server
from earful.training import cli
from earful.service.batch.classify_inputs import classify_inputs
from earful.service.batch.inputs import Input
from earful.service.batch.items import ClassifyOptions
import earful.service.batch.job
from earful.service.classifier import Classifier
from earful.service.core.settings import Settings

model, clip = Path(sys.argv[1]), Path(sys.argv[2])
cli.build_app()
row, _ = classify_inputs(Classifier.open(model), [Input(str(clip))], ClassifyOptions())

import asyncio, httpx

async def serve():
    app_ = app.create_app(Settings(model=model))
    async with app_.service.open():
        transport = httpx.ASGITransport(app_)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.post("/v1/classify", content=clip.read_bytes())).json()

answer = asyncio.run(serve())
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([row.scores[0][0], answer["results"][0]["label"], sorted(loaded)]))
"""


@pytest.mark.slow
def test_serving_loads_no_training_package(model: Path, tones: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVING, str(model), str(tones / "high.wav")]
    place = f"sqlite:///{tmp_path}/feedback.db"
    open_database(DatabaseAddress.parse(place)).close()
    environment = os.environ | {"EARFUL_FEEDBACK_URL": place}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    in_batch, over_http, loaded = json.loads(done.stdout)
    assert in_batch == over_http == "high"
    assert "onnxruntime" in loaded
    assert NEVER_WHILE_SERVING & set(loaded) == set()


@pytest.mark.slow
def test_serving_sends_no_telemetry(model: Path, tones: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry would write a device identifier into HOME."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    command = [sys.executable, "-c", SERVING, str(model), str(tones / "high.wav")]
    environment |= {"HOME": str(tmp_path / "home")}
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment)
    assert not (tmp_path / "home").exists()


# What a single file on the command line does not take.
NEVER_FOR_ONE_FILE = NEVER_WHILE_SERVING | {
    "sqlite3",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "filelock",
    "psutil",
    "soundfile",
    "soxr",
    "rich",
    "fastapi",
    "prometheus_client",
    "earful.data.annotations",
    "earful.data.labels.clip",
    "earful.data.labels.labels_csv",
    "earful.data.audio.encoded",
    "earful.data.audio.sounds",
    "earful.models.registry.catalogue",
    "earful.service.batch.chunks",
    "earful.service.batch.folder_writer",
    "earful.service.batch.job",
    "earful.service.batch.scheduler",
    "earful.service.batch.worker",
    "earful.service.events",
}

ONE_FILE = """
import json, sys
from earful.training import cli

try:
    cli.main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_a_single_file_loads_neither_jobs_nor_workers_nor_formats(model: Path, tones: Path) -> None:
    command = [sys.executable, "-c", ONE_FILE, "classify", tones / "high.wav", "--model", model]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT
    )
    header, row = done.stdout.splitlines()
    assert header == "filename,start,end,label,score,status,error"
    assert row.split(",")[3] == "high"
    loaded = set(json.loads(done.stderr))
    assert "earful.service.classifier" in loaded
    assert NEVER_FOR_ONE_FILE & loaded == set()
