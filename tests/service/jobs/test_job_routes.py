"""The routes of jobs in this process: keys, bounds, malformed uploads, jobs that are off."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from earful.service.core.errors import RequestError
from earful.service.core.settings import Settings
from earful.service.jobs.records import JobsError
from earful.service.server.app import create_app
from tests.fixtures.synthetic_audio import tone, wav
from tests.fixtures.waiting import wait_until
from tests.service.conftest import Client
from tests.service.feedback.conftest import fill_disk
from tests.service.jobs.conftest import JOBS, uploads

SHORT = wav(tone("low"))
ANNA, BOB, FEEDBACK = "anna" * 5, "bobs" * 5, "feed" * 5
KEYS = f"classify:{ANNA},classify:{BOB},feedback:{FEEDBACK}"


def status_and_code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def open_jobs(
    model: Path, tmp_path: Path, portal: BlockingPortal
) -> Iterator[Callable[..., Client]]:
    """``open_jobs(max_jobs=...)`` starts a service with jobs and these settings."""
    opened = []

    def start(**settings: Any) -> Client:
        app = create_app(Settings(model=model, jobs_dir=tmp_path / "jobs", **settings))
        context = portal.wrap_async_context_manager(app.service.open())
        context.__enter__()
        opened.append(context)
        return Client(app, portal)

    yield start
    for context in opened:
        context.__exit__(None, None, None)


def done(client: Client, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    def job() -> dict[str, Any] | None:
        content: dict[str, Any] = client.request("GET", path, headers=headers or {}).json()
        return content if content["status"] in ("done", "failed") else None

    found: dict[str, Any] = wait_until(job)
    return found


def test_a_job_belongs_to_the_key_that_made_it(open_jobs: Callable[..., Client]) -> None:
    client = open_jobs(api_keys=KEYS)
    assert status_and_code(client.post(JOBS, content=SHORT)) == (401, "unauthorized")
    wrong_scope = client.post(JOBS, content=SHORT, headers=bearer(FEEDBACK))
    assert status_and_code(wrong_scope) == (403, "forbidden")
    made = client.post(JOBS, content=SHORT, headers=bearer(ANNA))
    path = made.headers["location"]
    assert done(client, path, bearer(ANNA))["results"][0]["label"] == "low"
    for method in ("GET", "DELETE"):
        assert status_and_code(client.request(method, path)) == (401, "unauthorized")
        others = client.request(method, path, headers=bearer(BOB))
        assert status_and_code(others) == (404, "job_not_found")
        forbidden = client.request(method, path, headers=bearer(FEEDBACK))
        assert status_and_code(forbidden) == (403, "forbidden")
    # The same key by another way.
    assert client.request("DELETE", path, headers={"x-api-key": ANNA}).status_code == 204


def test_no_key_is_stored(open_jobs: Callable[..., Client], tmp_path: Path) -> None:
    client = open_jobs(api_keys=KEYS)
    path = client.post(JOBS, content=SHORT, headers=bearer(ANNA)).headers["location"]
    done(client, path, bearer(ANNA))
    stored = b"".join(file.read_bytes() for file in (tmp_path / "jobs").glob("jobs.db*"))
    owners = {digest.hex().encode() for _, digest in client.app.service.keys.digests}
    assert path.rpartition("/")[2].encode() in stored
    assert ANNA.encode() not in stored
    assert not any(owner in stored for owner in owners)


def test_jobs_made_without_keys_are_nobodys_once_there_are_keys(
    open_jobs: Callable[..., Client],
) -> None:
    path = open_jobs().post(JOBS, content=SHORT).headers["location"]
    with_keys = open_jobs(api_keys=KEYS)
    found = with_keys.request("GET", path, headers=bearer(ANNA))
    assert status_and_code(found) == (404, "job_not_found")


def test_switched_off_jobs_say_so(
    model: Path, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARFUL_JOBS_DIR", "off")
    app = create_app(Settings(model=model))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        assert status_and_code(client.post(JOBS, content=SHORT)) == (503, "jobs_off")
        assert status_and_code(client.get(f"{JOBS}/x")) == (503, "jobs_off")
        assert status_and_code(client.request("DELETE", f"{JOBS}/x")) == (503, "jobs_off")


def test_default_folder_that_cannot_be_used_turns_jobs_off(
    model: Path, tmp_path: Path, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").write_bytes(b"a file instead of a folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARFUL_JOBS_DIR")
    app = create_app(Settings(model=model))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        assert status_and_code(client.get(f"{JOBS}/x")) == (503, "jobs_off")
    configured = create_app(Settings(model=model, jobs_dir=tmp_path / "artifacts" / "jobs"))
    with (
        pytest.raises(JobsError, match="EARFUL_JOBS_DIR"),
        portal.wrap_async_context_manager(configured.service.open()),
    ):
        pass


def test_bounds_of_bytes_and_jobs(open_jobs: Callable[..., Client], tmp_path: Path) -> None:
    client = open_jobs(max_job_upload_bytes=10_000, max_jobs_bytes=15_000, max_jobs=2)
    draining = client.app.service
    draining.draining = True  # jobs wait
    assert status_and_code(client.post(JOBS, content=bytes(10_001))) == (413, "too_large")
    form = [("file", ("a.wav", bytes(10_001)))]
    assert status_and_code(client.post(JOBS, files=form)) == (413, "too_large")
    three = [("file", (f"{n}.wav", bytes(6_000))) for n in range(3)]
    assert status_and_code(client.post(JOBS, files=three)) == (413, "too_large")
    first = client.post(JOBS, content=bytes(9_000))
    refused = client.post(JOBS, content=bytes(9_000))
    assert status_and_code(refused) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0
    assert client.post(JOBS, content=SHORT[:4_000]).status_code == 202
    assert status_and_code(client.post(JOBS, content=b"x")) == (429, "queue_full")
    assert client.request("DELETE", first.headers["location"]).status_code == 204
    assert client.post(JOBS, content=bytes(9_000)).status_code == 202
    assert len({name.partition("/")[0] for name in uploads(tmp_path / "jobs")}) == 2


def test_too_many_files_are_refused(open_jobs: Callable[..., Client], tmp_path: Path) -> None:
    client = open_jobs(max_files=2)
    three = [("file", (f"{n}.wav", SHORT)) for n in range(3)]
    assert status_and_code(client.post(JOBS, files=three)) == (413, "too_many_files")
    assert uploads(tmp_path / "jobs") == []


def form_of(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    return b"".join(head % name.encode() + content + b"\r\n" for name, content in parts) + end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"", "multipart/form-data", "malformed_request"),
        (b"no form", "multipart/form-data; boundary=x", "malformed_request"),
        (
            form_of(("a.wav", SHORT), end=b""),
            "multipart/form-data; boundary=x",
            "malformed_request",
        ),
        (form_of(), "multipart/form-data; boundary=x", "no_file"),
    ],
)
def test_malformed_form_leaves_nothing(
    open_jobs: Callable[..., Client],
    tmp_path: Path,
    content: bytes,
    content_type: str,
    code: str,
) -> None:
    client = open_jobs()
    headers = {"content-type": content_type}
    assert status_and_code(client.post(JOBS, content=content, headers=headers)) == (400, code)
    assert uploads(tmp_path / "jobs") == []
    # The row is deleted too: with one job allowed, the next one is accepted.
    assert open_jobs(max_jobs=1).post(JOBS, content=SHORT).status_code == 202


def test_other_refusals(open_jobs: Callable[..., Client]) -> None:
    client = open_jobs()
    assert status_and_code(client.post(f"{JOBS}?top_k=3", content=SHORT)) == (
        400,
        "unknown_parameter",
    )
    compressed = client.post(JOBS, content=SHORT, headers={"content-encoding": "gzip"})
    assert status_and_code(compressed) == (400, "malformed_request")
    cross_site = client.post(JOBS, content=SHORT, headers={"sec-fetch-site": "cross-site"})
    assert status_and_code(cross_site) == (403, "bad_origin")
    assert status_and_code(client.get(f"{JOBS}/unknown")) == (404, "job_not_found")


def test_files_keep_names_order_and_errors_of_their_own(open_jobs: Callable[..., Client]) -> None:
    client = open_jobs(max_job_seconds=2)
    cut = wav(tone("mid", 1.0))[:9_000]
    long = wav(tone("high", 3.0))
    form = form_of(("übung.wav", SHORT), ("b", b""), ("cut.wav", cut), ("long.wav", long))
    headers = {"content-type": "multipart/form-data; boundary=x"}
    job = done(client, client.post(JOBS, content=form, headers=headers).headers["location"])
    assert job["status"] == "done"
    assert [result["filename"] for result in job["results"]] == [
        "übung.wav",
        "b",
        "cut.wav",
        "long.wav",
    ]
    codes = [result.get("error", {}).get("code") for result in job["results"]]
    assert codes == [None, "empty_audio", "truncated", "too_long"]
    assert job["results"][2]["seconds"] == pytest.approx((9_000 - 44) / 16_000)
    alone = done(client, client.post(JOBS, content=b"not audio").headers["location"])
    assert alone["status"] == "failed"


def test_body_without_a_length_is_counted_as_it_arrives(
    open_jobs: Callable[..., Client], tmp_path: Path
) -> None:
    client = open_jobs(max_jobs_bytes=20_000_000)
    client.app.service.draining = True  # jobs wait

    async def endless(n_pieces: int) -> Any:
        for _ in range(n_pieces):
            yield bytes(1_000_000)

    assert client.post(JOBS, content=endless(8)).status_code == 202
    kept = uploads(tmp_path / "jobs")
    refused = client.post(JOBS, content=endless(15))
    assert status_and_code(refused) == (429, "queue_full")
    wait_until(lambda: uploads(tmp_path / "jobs") == kept)


def test_full_disk_of_the_database_is_told(
    open_jobs: Callable[..., Client], portal: BlockingPortal
) -> None:
    jobs = open_jobs(feedback_url="off").app.service.jobs
    assert jobs is not None
    with pytest.raises(RequestError) as refused:
        portal.call(jobs.run, fill_disk, time.monotonic() + 60)
    assert (refused.value.code, refused.value.headers) == ("disk_full", {"Retry-After": "60"})


def test_openapi_documents_the_routes(open_jobs: Callable[..., Client]) -> None:
    document = open_jobs().get("/openapi.json").json()
    post = document["paths"][JOBS]["post"]
    assert post["tags"] == ["Jobs"]
    schema = post["responses"]["202"]["content"]["application/json"]["schema"]["$ref"]
    assert schema.endswith("/JobResponse")
    assert set(document["paths"][f"{JOBS}/{{job_id}}"]) == {"get", "delete"}
    assert "204" in document["paths"][f"{JOBS}/{{job_id}}"]["delete"]["responses"]
