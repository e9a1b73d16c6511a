"""Imports run one way, and serving loads no training package."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from earful.service.feedback.place import Place
from earful.service.feedback.store import open_store

ROOT = Path(__file__).parents[2]
# Each package may import itself and those before it.
LAYERS = ("data", "models", "service", "training")
# The command line lists all commands beside one another.
EXCEPTIONS = {("service/cli.py", "training")}
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
    # With a database of feedback that is ready it waits for the first label.
    "sqlalchemy",
}

SERVING = """
import json, sys
from pathlib import Path
from earful.service import app, cli, server
from earful.service.batch.hear import Options, hear
from earful.service.batch.inputs import Input
import earful.service.batch.run
from earful.service.classifier import Classifier
from earful.service.settings import Settings

model, clip = Path(sys.argv[1]), Path(sys.argv[2])
cli.build_app()
row, _ = hear(Classifier.open(model), [Input(str(clip))], Options())

import asyncio, httpx

async def serve():
    app_ = app.create_app(Settings(model=model))
    async with app_.service.open():
        transport = httpx.ASGITransport(app_)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.post("/v1/classify", content=clip.read_bytes())).json()

answer = asyncio.run(serve())
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([row.scores[0][0], answer["results"][0]["label"], sorted(loaded)]))
"""


def test_serving_loads_no_training_package(model: Path, tones: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVING, str(model), str(tones / "high.wav")]
    place = f"sqlite:///{tmp_path}/feedback.db"
    open_store(Place.parse(place)).close()
    environment = os.environ | {"EARFUL_FEEDBACK_URL": place}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    in_batch, over_http, loaded = json.loads(done.stdout)
    assert in_batch == over_http == "high"
    assert "onnxruntime" in loaded
    assert NEVER_WHILE_SERVING & set(loaded) == set()


def test_serving_reports_to_nobody(model: Path, tones: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, where it is on, begins with a device identifier in HOME."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    command = [sys.executable, "-c", SERVING, str(model), str(tones / "high.wav")]
    environment |= {"HOME": str(tmp_path / "home")}
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment)
    assert not (tmp_path / "home").exists()


def test_onnxruntime_is_imported_in_one_place() -> None:
    sources = [source for layer in LAYERS for source in (ROOT / layer).rglob("*.py")]
    importing = [s.name for s in sources if "onnxruntime" in imported(s)]
    assert importing == ["runtime.py"]


def imported(source: Path) -> set[str]:
    """Top-level names of all imports of a module, wherever they stand in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: imports are absolute"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("position", range(len(LAYERS)), ids=LAYERS)
def test_imports_run_one_way(position: int) -> None:
    above = set(LAYERS[position + 1 :]) | {"tests"}
    sources = sorted((ROOT / LAYERS[position]).rglob("*.py"))
    assert len(sources) > 1
    found = {
        (source.relative_to(ROOT).as_posix(), name)
        for source in sources
        for name in imported(source) & above
    }
    assert found <= EXCEPTIONS


def test_each_package_says_what_it_is_and_does_nothing_when_imported() -> None:
    for layer in LAYERS:
        body = ast.parse((ROOT / layer / "__init__.py").read_text("utf-8")).body
        assert len(body) == 1, layer
        assert isinstance(body[0], ast.Expr), layer


@pytest.mark.parametrize("name", LAYERS)
def test_no_other_distribution_owns_the_import_name(name: str) -> None:
    # An editable installation lists its path file and no packages: then the name has no owner.
    assert set(packages_distributions().get(name, [])) <= {"earful"}
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert {Path(p).parent for p in spec.submodule_search_locations or []} == {ROOT}
