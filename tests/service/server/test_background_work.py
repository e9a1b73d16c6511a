"""Every background thread and task of a service is killed, and is back, as /metrics says."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from earful.models.bundle import trial
from earful.models.registry.registry import Registry
from earful.models.registry.registry_source import RegistrySource
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.feedback import feedback_service
from earful.service.http.app_state import Service
from earful.service.inference import hot_reload
from earful.service.jobs import job_service
from tests.fixtures.hostile_models import folds_for_ever, hostile_model, wider_scores
from tests.fixtures.synthetic_audio import tone, wav
from tests.fixtures.waiting import wait_until
from tests.service.conftest import Client

MODEL = SHIPPED_MODELS["digits-small"]
CLASSIFY = "/v1/classify"
THREADS = ("inference", "recording_writer", "jobs_run", "jobs_clean")
TASKS = ("model_watcher", "request_expiry", "feedback_retention")
# What ends is back within ten seconds; twice that on a busy machine.
BACK_SECONDS = 20.0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    Registry(str(folder)).register("words", {"model.onnx": MODEL.read_bytes()})
    return folder


@pytest.fixture(scope="module")
def service_client(
    registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
    open_client: Callable[..., Client],
) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feedback_service, "RETENTION_INTERVAL_SECONDS", 0.2)
        patch.setattr(job_service, "CLEAN_SECONDS", 0.2)
        patch.setattr(job_service, "POLL_SECONDS", 0.2)
        patch.setattr(hot_reload, "POLL_SECONDS", 0.2)
        yield open_client(
            model="words",
            registry=str(registry),
            feedback_url=f"sqlite:///{folder}/feedback.db",
            recordings_dir=folder / "recordings",
            save_recordings="all",
            jobs_dir=folder / "jobs",
        )


def failures(client: Client, task: str) -> float:
    return metric(client, f'earful_background_failures_total{{task="{task}"}}')


def failing(client: Client, task: str) -> float:
    return metric(client, f'earful_background_failing{{task="{task}"}}')


def metric(client: Client, series: str) -> float:
    [line] = [x for x in client.get("/metrics").text.splitlines() if x.startswith(series + " ")]
    return float(line.rsplit(" ", 1)[1])


def classify(client: Client) -> int:
    return client.post(CLASSIFY, content=wav(tone("mid"))).status_code


def raise_once(patch: pytest.MonkeyPatch, owner: object, method: str, error: BaseException) -> None:
    """Let a method of a real object fail at its next call."""
    original, calls = getattr(owner, method), []

    def fail_first(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*arguments, **named)

    patch.setattr(owner, method, fail_first)


@pytest.mark.slow
@pytest.mark.parametrize("name", THREADS)
@pytest.mark.parametrize("error", [SystemExit(1), KeyError("of a bug"), OSError("no disk")])
def test_a_thread_that_is_ended_is_back(
    name: str, error: BaseException, service_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = state(service_client)
    assert service.feedback is not None
    assert service.jobs is not None
    owner, method = {
        "inference": (service.batcher, "_wait_for_jobs"),
        "recording_writer": (service.feedback._recording_writer, "_next_batch"),
        "jobs_run": (service.jobs.folder, "has_uploads"),
        "jobs_clean": (service.jobs, "database"),
    }[name]
    before = failures(service_client, name)
    raise_once(monkeypatch, owner, method, error)
    wait_until(
        lambda: failures(service_client, name) > before, nudge=lambda: classify(service_client)
    )
    wait_until(lambda: failing(service_client, name) == 0, nudge=lambda: classify(service_client))
    assert name in {thread.name for thread in threading.enumerate()}
    assert classify(service_client) == 200
    assert service_client.get("/livez").status_code == 200


@pytest.mark.parametrize("name", TASKS)
def test_a_cancelled_task_is_back(
    name: str, service_client: Client, portal: BlockingPortal
) -> None:
    async def cancel() -> None:
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
        task.cancel()

    before = failures(service_client, name)
    portal.call(cancel)
    wait_until(lambda: failures(service_client, name) > before)
    wait_until(lambda: failing(service_client, name) == 0)

    async def running() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()}

    assert name in portal.call(running)


def test_files_in_progress_fail_when_the_inference_thread_does(
    service_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = state(service_client).batcher
    raise_once(monkeypatch, batcher, "_run_selected", RuntimeError("of a bug"))
    before = failures(service_client, "inference")
    failed = service_client.post(CLASSIFY, content=wav(tone("mid")))
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "inference_failed")
    assert classify(service_client) == 200
    assert failures(service_client, "inference") == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00", b"[1, 2", b"{}", b'{"aliases": 7}'])
def test_garbage_in_the_registry_is_survived(
    garbage: bytes, registry: Path, service_client: Client
) -> None:
    aliases = registry / "words" / "aliases.json"
    good = aliases.read_bytes()
    aliases.write_bytes(garbage)
    wait_until(
        lambda: (
            {"reload_failed", "following_stopped"} & {*service_client.get("/readyz").json()}
            != set()
        )
    )
    assert service_client.get("/readyz").status_code == 200
    assert classify(service_client) == 200
    aliases.write_bytes(good)
    wait_until(lambda: {*service_client.get("/readyz").json()} == {"status", "model"})


@pytest.mark.slow
def test_a_store_that_cannot_be_read_stops_following_until_it_can(
    service_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission of a folder of versions; the test may run as root, who always has it."""
    source = state(service_client).model_reloader.source
    assert isinstance(source, RegistrySource)

    def refuse(_: str) -> bool:
        raise PermissionError(13, "Permission denied")

    before = failures(service_client, "model_watcher")
    with monkeypatch.context() as patch:
        patch.setattr(source.registry._storage, "is_published", refuse)
        wait_until(lambda: failures(service_client, "model_watcher") > before + 1)
        ready = service_client.get("/readyz")
        assert ready.status_code == 200
        assert "Permission denied" in ready.json()["following_stopped"]
        assert failing(service_client, "model_watcher") == 1
        assert classify(service_client) == 200
    wait_until(lambda: {*service_client.get("/readyz").json()} == {"status", "model"})
    assert failing(service_client, "model_watcher") == 0


@pytest.mark.slow
def test_a_hostile_version_is_kept_out_and_the_next_one_is_followed(
    registry: Path, service_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Registry(str(registry))
    for change, reason, seconds in [
        (wider_scores, "shape (1, 20)", trial.TRIAL_SECONDS),
        (folds_for_ever, "within 2 s", 2.0),
    ]:
        path = hostile_model(MODEL, tmp_path / "hostile.onnx", change)
        with monkeypatch.context() as patch:
            patch.setattr(trial, "TRIAL_SECONDS", seconds)
            store.register("words", {"model.onnx": path.read_bytes()}, alias="champion")
            wait_until(
                lambda reason=reason: (
                    reason  # type: ignore[misc]
                    in service_client.get("/readyz").json().get("reload_failed", "")
                )
            )
        assert classify(service_client) == 200
    good = store.register("words", {"model.onnx": MODEL.read_bytes()}, alias="champion")

    def release() -> str:
        return str(service_client.get("/readyz").json()["model"]["release"])

    wait_until(lambda: release() == str(good.number))
    assert "reload_failed" not in service_client.get("/readyz").json()


def state(client: Client) -> Service:
    service: Service = client.app.service
    return service


def test_recordings_that_cannot_be_saved_are_counted_and_later_ones_are_saved(
    service_client: Client,
) -> None:
    feedback = state(service_client).feedback
    assert feedback is not None
    folder = feedback.recording_store.folder
    before = failures(service_client, "recording_writer")
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_bytes(b"a file in place of the folder")
    service_client.post(CLASSIFY, content=wav(tone("low")))
    wait_until(lambda: failures(service_client, "recording_writer") > before)
    folder.unlink()
    aside.rename(folder)
    service_client.post(CLASSIFY, content=wav(tone("high")))
    wait_until(lambda: failing(service_client, "recording_writer") == 0)
