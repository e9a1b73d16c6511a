"""``/v1/retrain``: corrections, a retraining, and the new model in the same service."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earful.models.registry.records import DATA_FILE
from earful.models.registry.registry import Registry
from earful.service.core.retrain_lock import RetrainFolder, RetrainStatus
from earful.service.core.settings import Settings
from earful.service.http.routes.retrain import status_json
from earful.service.server.app import create_app
from earful.training.releases.manifest import from_csv
from tests.fixtures.forked_command import run_forked
from tests.fixtures.server import running_server
from tests.fixtures.synthetic_audio import RATE_HZ, wav
from tests.service.conftest import Client
from tests.service.server.test_lifecycle import UploadThreads, wait_until

NEW_LABEL, PITCH_HZ = "top", 3000.0
KEYS = {
    "EARFUL_API_KEYS": "feedback:feedback-feedback,admin:admin-admin-admin,"
    "classify:classify-classify"
}
CLASSIFY = {"Authorization": "Bearer classify-classify"}
FEEDBACK = {"Authorization": "Bearer feedback-feedback"}
ADMIN = {"Authorization": "Bearer admin-admin-admin"}


def new_label_wav(n: int) -> bytes:
    """A tone of a new label, slightly different for each ``n``."""
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    sound = 0.3 * np.sin(2 * np.pi * (PITCH_HZ + 10 * n) * time) * np.hanning(len(time))
    return wav(sound.astype(np.float32))


@pytest.fixture
def registry(trained: tuple[Path, Path], tmp_path: Path) -> Registry:
    """A registry with the model of the tones and its training data."""
    _, run = trained
    words = ["models", "register", "tones", run, "--data", run.parent / "dataset"]
    run_forked([*words, "--registry", tmp_path / "registry"]).check_returncode()
    return Registry(str(tmp_path / "registry"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_corrections_retrain_a_model_that_the_same_service_reloads_under_load(
    registry: Registry, tmp_path: Path
) -> None:
    """No request is lost meanwhile, and each names the version that answered it."""
    settings = {
        **KEYS,
        "EARFUL_REGISTRY": registry.root,
        "EARFUL_RETRAIN_DIR": str(tmp_path / "work"),
        "EARFUL_RECORDINGS_DIR": str(tmp_path / "audio"),
        "OMP_NUM_THREADS": "1",
    }
    options = ["--feedback", f"sqlite:///{tmp_path}/feedback.db", "--save-recordings", "feedback"]
    with (
        running_server(tmp_path, Path("tones"), *options, **settings) as server,
        server.client() as client,
        UploadThreads(server, count=2, headers=CLASSIFY, pause_seconds=0.1) as upload_threads,
    ):
        for n in range(20):
            form = {"label": NEW_LABEL, "annotator": "anna", "new_label": "true"}
            answer = client.post(
                "/v1/feedback", data=form, files={"file": new_label_wav(n)}, headers=FEEDBACK
            )
            assert answer.status_code == 201, answer.text
        assert client.post("/v1/retrain", json={}, headers=FEEDBACK).status_code == 403
        body = {"add_labels": True, "epochs": 12}
        answer = client.post("/v1/retrain", json=body, headers=ADMIN)
        assert (answer.status_code, answer.json()["state"]) == (202, "running"), answer.text
        twice = client.post("/v1/retrain", json=body, headers=ADMIN)
        assert (twice.status_code, twice.json()["error"]["code"]) == (409, "already_running")

        def state() -> str:
            status = client.get("/v1/retrain", headers=ADMIN).json()
            assert status["state"] in {"running", "done"}, status
            return str(status["state"])

        wait_until(lambda: state() == "done", seconds=400)
        assert client.get("/v1/retrain", headers=ADMIN).json()["message"] == (
            "version 2 is champion"
        ), json.loads(registry.read("tones", registry.version("tones", 2), "gate.json"))
        wait_until(lambda: client.get("/readyz").json()["model"]["release"] == "2")
        wait_until(lambda: upload_threads.releases()[-1] == "2")
        classified = client.post("/v1/classify", content=new_label_wav(50), headers={**ADMIN})
        assert classified.status_code == 403, "the admin key has the scope admin only"
    assert {answer.status_code for _, answer in upload_threads.answers} == {200}
    assert set(upload_threads.releases()) == {"1", "2"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_corrections_by_name_are_listed_and_are_one_retraining_by_http_and_by_command(
    registry: Registry, tmp_path: Path
) -> None:
    rows = from_csv(registry.read("tones", registry.version("tones"), DATA_FILE), "here")
    files = [row.path for row in rows if (row.label, row.split) == ("low", "train")][:3]
    given = dict(zip(files, ("anna", "bob", "mallory"), strict=True))
    place = ["--registry", registry.root, "--work", str(tmp_path / "work")]
    feedback = ["--feedback", f"sqlite:///{tmp_path}/feedback.db"]
    settings = {
        "EARFUL_REGISTRY": registry.root,
        "EARFUL_RETRAIN_DIR": str(tmp_path / "work"),
        "EARFUL_RECORDINGS_DIR": str(tmp_path / "audio"),
        "OMP_NUM_THREADS": "1",
    }
    save = ["--save-recordings", "feedback"]
    with (
        running_server(tmp_path, Path("tones"), *feedback, *save, **settings) as server,
        server.client() as client,
    ):
        for path, annotator in given.items():
            form = {"label": "mid", "annotator": annotator}
            sent = {"file": path.read_bytes()}
            assert client.post("/v1/feedback", data=form, files=sent).status_code == 201
        body = {"trust": ["bob", "anna"], "no_promote": True, "epochs": 1}
        assert client.post("/v1/retrain", json=body).status_code == 202
        wait_until(lambda: client.get("/v1/retrain").json()["state"] == "done", seconds=300)
        status = client.get("/v1/retrain").json()
        changed = {(c["filename"], c["old"], c["new"], c["by"]) for c in status["changed_labels"]}
        assert changed == {(str(p), "low", "mid", given[p]) for p in files[:2]}
        assert (status["changed"], status["kept"]) == (2, 1)
        assert [change["by"] for change in status["kept_labels"]] == ["mallory"]
        assert (status["version"], status["role"]) == (2, "challenger")
        assert status["next"] == f"earful models promote tones 2 --registry {registry.root}"
        assert status["message"].startswith("version 2 is challenger")
        report = registry.read("tones", registry.version("tones", 2), "report.html").decode()
        for path in files[:2]:
            cells = f"<td>{path}</td><td>low</td><td>mid</td><td>{given[path]}</td>"
            assert cells in report
        assert f"<td>{files[2]}</td><td>low</td><td>mid</td><td>mallory</td>" in report

        command = ["retrain", "tones", "--from-feedback", *feedback, *place, "--epochs"]
        command += ["1", "--no-promote", "--trust", "anna", "--trust", "bob"]
        command += ["--saved-recordings", str(tmp_path / "audio")]
        again = run_forked(command)
        assert again.returncode == 0, again.stderr
        assert "already registered by the same request" in again.stdout
        assert registry.numbers("tones") == [1, 2]

        registry.promote("tones", 2)
        now = client.get("/v1/retrain").json()
        assert (now["role"], now["next"]) == ("champion", "")
        assert now["message"] == "version 2 is champion"
        registry.rollback("tones")
        assert client.get("/v1/retrain").json()["role"] == "none"


@pytest.mark.parametrize("trust", [[""], ["a\u202eb"], ["x" * 201], ["a"] * 101, "anna"])
def test_impossible_names_to_trust_are_refused(client: Client, trust: object) -> None:
    answer = client.post("/v1/retrain", json={"trust": trust})
    assert answer.status_code == 400
    assert "trust" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    [
        '{"epochs": true}',
        '{"epochs": "1"}',
        '{"epochs": NaN}',
        '{"add_labels": "yes"}',
        '{"no_promote": 1}',
        '{"no_promote": true, "no_promote": false}',
        '{"epoch": 1}',
        "[]",
    ],
)
def test_options_of_another_type_are_refused(client: Client, text: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/retrain", content=text, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_request")


def test_retraining_is_refused_when_a_plain_file_is_served(client: Client) -> None:
    answer = client.post("/v1/retrain", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "feedback_off")
    answer = client.get("/v1/retrain")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_registry")


def test_cross_site_form_cannot_start_a_retraining(client: Client) -> None:
    answer = client.post("/v1/retrain", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code in {400, 422}
    assert "error" in answer.json()


def test_unknown_options_are_refused(client: Client) -> None:
    answer = client.post("/v1/retrain", json={"epoch": 3})
    assert answer.status_code == 400
    assert "epoch" in answer.json()["error"]["message"]


def test_a_command_that_cannot_be_started_is_reported(
    open_client: Callable[..., Client], model: Path, tmp_path: Path
) -> None:
    registry = Registry(str(tmp_path / "registry"))
    registry.register("tones", {"model.onnx": model.read_bytes()})
    client = open_client(
        model="tones",
        registry=registry.root,
        retrain_dir=tmp_path / "work",
        feedback_url=f"sqlite:///{tmp_path}/feedback.db",
        command=[str(tmp_path / "missing")],
    )
    for _ in range(2):  # the second is not refused as the first one's successor
        answer = client.post("/v1/retrain", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        status = client.get("/v1/retrain").json()
        assert status["state"] == "failed"
        assert "missing" in status["message"]


def test_killed_retraining_is_reported(
    open_client: Callable[..., Client], model: Path, tmp_path: Path
) -> None:
    registry = Registry(str(tmp_path / "registry"))
    registry.register("tones", {"model.onnx": model.read_bytes()})
    client = open_client(model="tones", registry=registry.root, retrain_dir=tmp_path / "work")
    assert client.get("/v1/retrain").json()["state"] == "idle"
    work = RetrainFolder(tmp_path / "work" / "tones")
    with work.locked():
        work.write_status("train", 3, 10)
        status = client.get("/v1/retrain").json()
        assert (status["state"], status["stage"]) == ("running", "train")
        assert (status["done"], status["total"]) == (3, 10)
    assert client.get("/v1/retrain").json()["state"] == "killed"
    status_file = work.folder / "status.json"
    written = json.loads(status_file.read_text("utf-8"))
    changes: tuple[dict[str, object], ...] = (
        {"started": "2026-01-01T00:00:00"},
        {"state": "walking"},
        {"done": "3"},
        {"pid": True},
        {"changed_labels": [5]},
        {"result": {"number": "1", "reasons": []}},
        {"result": {"number": 1, "reasons": "ab"}},
    )
    damages = [json.dumps(written | change) for change in changes]
    for damage in ("{", '{"state": "running"}', "[]", "[" * 100_000, *damages):
        status_file.write_text(damage, "utf-8")
        status = client.get("/v1/retrain").json()
        assert status["state"] == "failed"
        assert "is damaged" in status["message"]


class EndsWhileRead(RetrainFolder):
    """The folder of a retraining that ends once its status has been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run = contextlib.ExitStack()
        self.run.enter_context(self.locked())
        self._started = "2026-01-01T00:00:00+00:00"
        self.write_status("publish")

    def status(self) -> RetrainStatus | None:
        seen = super().status()
        self.write_status("publish", state="done")
        self.run.close()
        return seen


def test_a_retraining_that_ends_while_its_status_is_read_was_not_killed(
    model: Path, tmp_path: Path
) -> None:
    service = create_app(Settings(model=model)).service
    folder = EndsWhileRead(tmp_path / "tones")
    assert status_json(service, folder)["state"] == "running"
    assert status_json(service, RetrainFolder(folder.folder))["state"] == "done"
