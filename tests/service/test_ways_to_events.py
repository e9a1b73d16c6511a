"""The same recording has the same events, whichever way it reaches the detector."""

from pathlib import Path

import pytest

from earful.models.registry.shipped import SHIPPED_MODELS
from earful.training.evaluation.event_metrics import SoundEvent
from tests.benchmarks.compose_recordings import compose_all
from tests.benchmarks.event_ways import WAYS, by_job, by_python, by_upload

MODEL = SHIPPED_MODELS["digits-small"]  # the faster one

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recording(fsdd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in white noise."""
    [composed] = compose_all(fsdd.parent, tmp_path_factory.mktemp("recordings"), ["noisy-digits"])
    return composed.path


@pytest.fixture(scope="module")
def events(recording: Path) -> list[SoundEvent]:
    return by_python(MODEL, recording)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "python"])
def test_events_are_those_of_python(recording: Path, events: list[SoundEvent], way: str) -> None:
    assert len(events) > 100
    assert WAYS[way](MODEL, recording) == events


def test_short_recording_is_one_event_by_upload_and_by_job(fsdd: Path) -> None:
    clip = fsdd / "recordings" / "7_theo_3.wav"
    [event] = by_upload(MODEL, clip)
    assert (event.start_seconds, event.label) == (0.0, "7")
    assert by_job(MODEL, clip) == [event]
