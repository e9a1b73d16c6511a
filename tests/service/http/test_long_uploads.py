"""Long recordings through ``/v1/classify``: events, temporary files, limits, damage, shutdown."""

import csv
import io
import json
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from typer.testing import Result

from earful.data.audio.decode import Waveform
from earful.service.core.settings import SPOOL_BYTES
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import RATE_HZ, noise, overlay_at, tone, wav
from tests.fixtures.waiting import wait_until
from tests.service.batch.conftest import day
from tests.service.conftest import Client

pytestmark = pytest.mark.slow

URL = "/v1/classify"


def minutes_of_tones(minutes: float) -> Waveform:
    """``day`` over and over."""
    piece = day()
    return np.tile(piece, int(60 * minutes * RATE_HZ / len(piece)) + 1)[
        : round(60 * minutes * RATE_HZ)
    ]


def flac(samples: Waveform) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, format="FLAC")
    return buffer.getvalue()


LONG = wav(minutes_of_tones(2.5))
assert len(LONG) > 2 * SPOOL_BYTES


@pytest.fixture(scope="module")
def client(open_client: Callable[..., Any], model: Path) -> Any:
    """A service with its default limits."""
    return open_client(model=model, feedback_url="off")


def in_form(*files: tuple[str, bytes]) -> dict[str, Any]:
    return {"files": [("file", file) for file in files]}


def results_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


RECORDINGS = {
    "seconds in memory": wav(day()),
    "minutes in memory": flac(minutes_of_tones(1.5)),
    "in a temporary file": LONG,
    "of another rate": wav(np.repeat(minutes_of_tones(0.5), 6), 6 * RATE_HZ),
}


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "raw"])
@pytest.mark.parametrize("name", RECORDINGS)
def test_events_and_label_are_those_of_the_command_line(
    client: Client,
    earful: Callable[..., Result],
    model: Path,
    tmp_path: Path,
    name: str,
    as_form: bool,
) -> None:
    content = RECORDINGS[name]
    path = tmp_path / "one.audio"
    path.write_bytes(content)

    def rows(mode: str) -> list[dict[str, str]]:
        text = earful("classify", path, "--model", model, "--mode", mode).stdout
        return list(csv.DictReader(io.StringIO(text)))

    arguments = in_form(("one", content)) if as_form else {"content": content}
    [result] = results_of(client.post(URL, **arguments))
    events = [
        (f"{e['start']:.3f}", f"{e['end']:.3f}", e["label"], round(e["score"], 5))
        for e in result["events"]
    ]
    assert len(events) >= 4
    assert events == [
        (row["start"], row["end"], row["label"], round(float(row["score"]), 5))
        for row in rows("events")
    ]
    [whole] = rows("file")
    assert result["label"] == whole["label"]
    assert result["score"] == pytest.approx(float(whole["score"]), abs=1e-5)
    assert "windows" not in result


def test_windows_of_a_spooled_recording_cover_it(client: Client) -> None:
    [result] = results_of(client.post(URL + "?windows=true", content=LONG))
    starts = [window["start"] for window in result["windows"]]
    assert (starts[0], result["windows"][-1]["end"]) == (0, 150)
    np.testing.assert_allclose(np.diff(starts[:-1]), 0.25)


def test_top_k_limits_the_scores(client: Client) -> None:
    for content in (wav(tone("low")), LONG):
        [result] = results_of(client.post(URL + "?top_k=2", content=content))
        assert len(result["scores"]) == 2
        assert result["scores"][0] == {"label": result["label"], "score": result["score"]}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("windos=true", "unknown_parameter"),
        ("windows=", "malformed_request"),
        ("windows=1", "malformed_request"),
        ("top_k=0", "malformed_request"),
        ("top_k=-1", "malformed_request"),
        ("top_k=two", "malformed_request"),
        ("top_k=1&top_k=2", "malformed_request"),
        ("%ff=1", "unknown_parameter"),
    ],
)
def test_bad_parameters_are_refused_with_what_is_accepted(
    client: Client, query: str, code: str
) -> None:
    answer = client.post(f"{URL}?{query}", content=wav(tone("low")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    if code == "unknown_parameter":
        assert "top_k, windows" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/feedback/status", "/v1/retrain"])
def test_other_routes_refuse_unknown_parameters_too(client: Client, path: str) -> None:
    answer = client.get(path + "?limit=3")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")


def test_short_recording_in_a_temporary_file_is_one_event_too(client: Client) -> None:
    sound = np.repeat(overlay_at(tone("mid"), 0.5, noise(1.4, 1e-4)), 24)
    content = wav(sound, 24 * RATE_HZ, subtype="DOUBLE")
    assert len(content) > SPOOL_BYTES
    [result] = results_of(client.post(URL, content=content))
    assert result["label"] == "mid"
    assert [(e["start"], e["end"]) for e in result["events"]] == [(0, 1.4)]


def test_short_recording_is_one_event_or_none(client: Client) -> None:
    files = [("tone", wav(tone("mid"))), ("sample", wav(tone("mid")[100:101])), ("long", LONG)]
    heard, sample, _ = results_of(client.post(URL, **in_form(*files)))
    assert heard["events"] == [{"start": 0, "end": 0.4, "label": "mid", "score": heard["score"]}]
    assert len(sample["events"]) <= 1


def test_rejection_changes_labels_and_no_events(
    open_client: Callable[..., Client], rejecting_model: Path
) -> None:
    answers = [
        results_of(open_client(model=rejecting_model, reject=reject).post(URL, content=wav(day())))
        for reject in (True, False)
    ]
    [[rejecting], [other]] = answers
    assert rejecting["events"] == other["events"]


def test_silence_and_clipping_throughout(client: Client) -> None:
    silence = wav(np.zeros(10 * 60 * RATE_HZ, np.float32))
    clipped = wav(np.sign(noise(30, 1.0)).astype(np.float32))
    quiet, loud = results_of(client.post(URL, **in_form(("a", silence), ("b", clipped))))
    assert (quiet["events"], quiet["seconds"]) == ([], 600)
    assert loud["seconds"] == 30


@pytest.mark.parametrize("content", [wav(day()), LONG], ids=["memory", "temporary file"])
def test_recording_cut_off_gives_the_events_before_and_the_error(
    client: Client, content: bytes
) -> None:
    [whole] = results_of(client.post(URL, content=content))
    half = content[: len(content) // 2]
    cut = client.post(URL, content=half)
    assert (cut.status_code, cut.json()["error"]["code"]) == (422, "truncated")
    [result] = cut.json()["results"]
    seconds = (len(half) - 44) / 2 / RATE_HZ
    ended = [event for event in whole["events"] if event["end"] < seconds - 1.5]
    assert result["events"][: len(ended)] == ended
    assert len(ended) > 0
    assert all(event["end"] <= seconds + 0.001 for event in result["events"])
    good, bad = results_of(client.post(URL, **in_form(("a", wav(tone("mid"))), ("b", half))))
    assert good["label"] == "mid"
    assert (bad["error"]["code"], bad["events"]) == ("truncated", result["events"])


def test_bad_large_files_are_client_errors(client: Client) -> None:
    noise_bytes = np.random.default_rng(0).bytes(2 * SPOOL_BYTES)
    nan = np.full(SPOOL_BYTES, 0.1, np.float32)
    nan[-5] = np.nan
    cases = {
        "unsupported_format": noise_bytes,
        "not_finite": wav(nan, subtype="FLOAT"),
        "too_many_channels": wav(np.zeros((SPOOL_BYTES // 8, 9), np.float32)),
    }
    for code, content in cases.items():
        answer = client.post(URL, content=content)
        assert answer.json()["error"]["code"] == code
        assert 400 <= answer.status_code < 500


def test_length_and_size_limits_are_those_of_the_settings(
    open_client: Callable[..., Client], model: Path
) -> None:
    limits = {"max_seconds": 100, "max_upload_bytes": 3_000_000, "max_request_bytes": 5_000_000}
    client = open_client(model=model, **limits)
    answer = client.post(URL, content=LONG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_long")
    assert "at most 100 s" in answer.json()["error"]["message"]
    # Half a minute at another rate, so within the seconds and beyond the bytes.
    large = wav(np.zeros(30 * 96_000, np.float32), 96_000)
    files = in_form(("large", large[:3_500_000]), ("good", wav(day())))
    bad, good = results_of(client.post(URL, **files))
    assert bad["error"]["code"] == "too_large"
    assert len(good["events"]) == 4
    assert client.post(URL, content=large).json()["error"]["code"] == "too_large"
    budget = client.app.service.upload_budget
    assert (budget.bytes_held, budget.bytes_spooled, budget.files_spooled) == (0, 0, 0)


def test_temporary_files_are_limited(open_client: Callable[..., Client], model: Path) -> None:
    limits = {"max_upload_bytes": 4_000_000, "max_request_bytes": 4_000_000}
    client = open_client(model=model, max_spool_bytes=4_000_000, **limits)
    budget = client.app.service.upload_budget
    budget.bytes_spooled += 3_000_000  # another request's
    answer = client.post(URL, content=LONG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert answer.headers["retry-after"]
    budget.bytes_spooled -= 3_000_000
    assert results_of(client.post(URL, content=LONG))
    assert (budget.bytes_held, budget.bytes_spooled, budget.files_spooled) == (0, 0, 0)


def test_deadline_grows_with_the_recording(open_client: Callable[..., Client], model: Path) -> None:
    short = {"deadline_seconds": 0.2, "deadline_per_audio_second": 0.0}
    answer = open_client(model=model, **short).post(URL, content=wav(minutes_of_tones(20)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_passed")
    longer = open_client(model=model, deadline_seconds=1.0, deadline_per_audio_second=0.5)
    assert results_of(longer.post(URL, content=wav(minutes_of_tones(10))))


def test_long_upload_has_a_prediction_id_and_is_saved_within_limits(
    open_client: Callable[..., Client], model: Path, tmp_path: Path
) -> None:
    client = open_client(
        model=model,
        feedback_url=f"sqlite:///{tmp_path}/feedback.db",
        save_recordings="all",
        recordings_dir=tmp_path / "audio",
    )
    minute = wav(np.repeat(minutes_of_tones(0.5), 6), 6 * RATE_HZ)
    assert SPOOL_BYTES < len(minute) < 10_000_000
    long, saved = results_of(client.post(URL, **in_form(("long", LONG), ("saved", minute))))
    for result in (long, saved):
        about = {"prediction_id": result["prediction_id"], "label": "low", "annotator": "anna"}
        assert client.post("/v1/feedback", json=about).status_code == 201
    files = wait_until(lambda: list((tmp_path / "audio").glob("*/*.wav")))
    assert [file.read_bytes() for file in files] == [minute]
    assert 'earful_recordings_saved_total{outcome="too_long"} 1.0' in client.get("/metrics").text


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    limits = {"EARFUL_DEADLINE_SECONDS": "2", "EARFUL_MIN_UPLOAD_BYTES_PER_SECOND": "1000000"}
    with running_server(folder, model, "--feedback", "off", **limits) as running:
        yield running


def start_upload(server: RunningServer, n_declared: int) -> socket.socket:
    """A connection that has sent the head of an upload."""
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    connection.sendall(
        f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_declared}\r\n\r\n".encode()
    )
    connection.settimeout(30)
    return connection


def test_slow_sender_of_a_long_upload_is_refused(server: RunningServer) -> None:
    with start_upload(server, 100_000_000) as connection:
        connection.sendall(LONG)
        # Two seconds, and one for each megabyte of what has arrived.
        assert wait_until(lambda: spooled_files(server) == 1)
        started = time.monotonic()
        connection.settimeout(120)
        head = connection.recv(12)
        assert head.endswith(b"408")
        assert time.monotonic() - started < 60
    assert wait_until(lambda: spooled_files(server) == 0)


def test_client_that_leaves_stops_the_work(server: RunningServer) -> None:
    hour = wav(minutes_of_tones(55))
    with start_upload(server, len(hour)) as connection:
        connection.sendall(hour)
    assert wait_until(lambda: "499" in codes(server))
    assert wait_until(lambda: spooled_files(server) == 0)
    with server.client() as client:
        assert client.post(URL, content=wav(tone("mid"))).status_code == 200


def spooled_files(server: RunningServer) -> int:
    """Deleted files that the server has open (Linux)."""
    count = 0
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        if int(link.name) <= 2:  # pytest's own
            continue
        try:
            count += "(deleted)" in str(link.readlink())
        except FileNotFoundError:
            continue
    return count


def codes(server: RunningServer) -> set[str]:
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    return {str(line.get("status")) for line in lines}


def test_full_disk_is_a_clean_error(model: Path, tmp_path: Path) -> None:
    """A limit on the size of files acts as a disk that is full."""

    with running_server(tmp_path, model, "--feedback", "off") as server, server.client() as client:
        resource.prlimit(
            server.process.pid,
            resource.RLIMIT_FSIZE,
            (SPOOL_BYTES * 3 // 2, resource.RLIM_INFINITY),
        )
        answer = client.post(URL, content=LONG)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_full")
        assert client.post(URL, content=wav(tone("mid"))).status_code == 200
        assert spooled_files(server) == 0


def test_short_files_are_answered_while_several_long_ones_are(server: RunningServer) -> None:
    with ThreadPoolExecutor() as pool, server.client() as client:
        uploads = [
            pool.submit(lambda: httpx.post(server.url + URL, content=LONG, timeout=300))
            for _ in range(3)
        ]
        answered = 0
        while not all(upload.done() for upload in uploads):
            assert client.post(URL, content=wav(tone("mid"))).status_code == 200
            answered += 1
    assert answered > 20
    events = [results_of(upload.result())[0]["events"] for upload in uploads]
    assert events[0] == events[1] == events[2]
    assert len(events[0]) > 80


def test_shutdown_ends_long_recordings_with_an_answer(model: Path, tmp_path: Path) -> None:
    with (
        running_server(tmp_path, model, EARFUL_DRAIN_SECONDS="1") as server,
        ThreadPoolExecutor() as pool,
    ):
        hour = wav(minutes_of_tones(50))
        upload = pool.submit(lambda: httpx.post(server.url + URL, content=hour, timeout=300))
        assert wait_until(lambda: spooled_files(server) == 1 or upload.done())
        server.process.send_signal(signal.SIGTERM)
        assert upload.result().status_code in (200, 503)
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log.read_text()
