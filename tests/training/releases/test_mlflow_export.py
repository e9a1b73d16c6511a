"""Export to a real MLflow server with a SQLite store."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from earful.models.registry.registry import Registry
from earful.training.releases.mlflow_export import MlflowError, export_model
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import wait_until

mlflow = pytest.importorskip("mlflow")
pytestmark = [
    pytest.mark.slow,
    # MLflow and its dependencies warn of deprecations.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Its job runner is several more processes.
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment) as process,
    ):
        try:

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310
                except (urllib.error.URLError, ConnectionError):
                    return False
                return True

            wait_until(answers, seconds=120)
            yield url
        finally:
            process.terminate()


def test_versions_and_aliases_are_copied_once(server: str, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    files = {"model.onnx": b"one", "metrics.json": b'{"accuracy": 0.5, "clips": 10}'}
    registry.register("digits", files, note="the first")
    registry.register("digits", {**files, "model.onnx": b"two"}, parent=1, alias="challenger")
    first = export_model(registry, "digits", server)
    assert sorted(first.sent) == [1, 2]
    assert set(first.aliases) == {"champion", "challenger"}
    registry.promote("digits", 2)
    again = export_model(registry, "digits", server)
    assert (again.sent, sorted(again.known)) == ({}, [1, 2])

    client = mlflow.MlflowClient(tracking_uri=server)
    champion = client.get_model_version_by_alias("digits", "champion")
    assert champion.tags["earful.version"] == "2"
    assert "challenger" not in client.get_registered_model("digits").aliases
    assert client.get_run(champion.run_id).data.metrics["accuracy"] == 0.5
    copy = client.download_artifacts(champion.run_id, "earful/model.onnx", str(tmp_path))
    assert Path(copy).read_bytes() == b"two"


def test_unreachable_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry(str(tmp_path / "registry"))
    registry.register("digits", {"model.onnx": b"one"})
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(MlflowError, match=url):
        export_model(registry, "digits", url)
