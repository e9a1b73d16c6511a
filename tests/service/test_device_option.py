"""``--device`` decides where a model's sessions run, and on CUDA they answer as on the CPU."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import pytest
from typer.testing import Result

from earful.models.bundle.device import Device
from earful.service.api.model import load
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, overlay_at, tone, wav
from tests.service.conftest import Client

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# CUDA sums in another order.
TOLERANCE = 1e-4
# A recording of several windows, so that the batches of a GPU are larger than one.
LONG = wav(overlay_at(tone("mid"), 4.0, noise(9.0, 0.02)))


def has_cuda() -> bool:
    """Whether this process can use CUDA: onnxruntime-gpu lists it without a GPU too."""
    torch = pytest.importorskip("torch")
    return bool(torch.cuda.is_available())


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    found: Device = request.param
    if found == "cuda" and not has_cuda():
        pytest.skip("needs a CUDA device")
    return found


@pytest.fixture
def sessions() -> Iterator[list[onnxruntime.InferenceSession]]:
    """All sessions that are opened in this process."""
    opened: list[onnxruntime.InferenceSession] = []
    create = onnxruntime.InferenceSession.__init__

    def record(self: onnxruntime.InferenceSession, *args: object, **kwargs: object) -> None:
        create(self, *args, **kwargs)
        opened.append(self)

    with mock.patch.object(onnxruntime.InferenceSession, "__init__", record):
        yield opened


def assert_run_on(sessions: list[onnxruntime.InferenceSession], device: Device) -> None:
    assert sessions
    for session in sessions:
        assert session.get_providers()[0] == PROVIDERS[device]
    sessions.clear()


def test_classify(
    device: Device,
    sessions: list[onnxruntime.InferenceSession],
    earful: Callable[..., Result],
    model: Path,
    tones: Path,
) -> None:
    (tones / "long.wav").write_bytes(LONG)

    def scores(on: Device) -> dict[tuple[str, str], list[float]]:
        options = ("--device", on, "--mode", "windows", "--workers", 1, "--top-k", 3)
        table = earful("classify", tones, "--model", model, *options)
        assert table.exit_code == 0, table.output
        assert_run_on(sessions, on)
        rows = csv.DictReader(io.StringIO(table.stdout))
        columns = ("score", "score_2", "score_3")
        return {(row["filename"], row["start"]): [float(row[c]) for c in columns] for row in rows}

    expected, found = scores("cpu"), scores(device)
    assert len(expected) > len(PITCHES_HZ) + 5
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=TOLERANCE), name


@pytest.mark.slow
def test_serve(
    device: Device,
    sessions: list[onnxruntime.InferenceSession],
    open_client: Callable[..., Client],
    model: Path,
) -> None:
    uploads = [("files", (f"{n}.wav", LONG)) for n in range(3)]

    def results(on: Device) -> list[object]:
        client = open_client(model=model, device=on)
        assert_run_on(sessions, on)
        assert f'provider="{PROVIDERS[on]}"' in client.get("/metrics").text
        answer = client.post("/v1/classify?windows=true", files=uploads)
        assert answer.status_code == 200, answer.text
        activation_map = client.post("/v1/activation-map", content=LONG)
        assert activation_map.status_code == 200, activation_map.text
        assert_run_on(sessions, on)  # the map has a session of its own
        return [answer.json()["results"], activation_map.json()["map"]]

    assert_close(results(device), results("cpu"))


def test_loaded_from_python(
    device: Device, sessions: list[onnxruntime.InferenceSession], model: Path
) -> None:
    """``auto`` takes CUDA where there is one."""
    expected, found = (
        [asdict(event) for event in load(model, device=on).events(LONG)] for on in ("cpu", device)
    )
    assert expected
    assert_close(found, expected)
    sessions.clear()
    assert load(model, device="auto").classify(LONG).label == "mid"
    assert_run_on(sessions, "cuda" if has_cuda() else "cpu")


def assert_close(found: object, expected: object) -> None:
    """Equal but for fractions, which are within the tolerance."""
    for one, other in zip(_leaves(found), _leaves(expected), strict=True):
        if isinstance(other, float | np.floating):
            assert one == pytest.approx(other, abs=TOLERANCE)
        else:
            assert one == other


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in (key, *_leaves(value[key]))]
    if isinstance(value, list | tuple | np.ndarray):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]
