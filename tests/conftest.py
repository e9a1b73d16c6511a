"""What tests of every part share: sound written to files, and the real recordings."""

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.fixtures.chords import Chords
    from tests.fixtures.tab import Tab

# Only tests of feedback keep any, each in a place of its own.
os.environ.setdefault("EARFUL_FEEDBACK_URL", "off")
os.environ.setdefault("EARFUL_JOBS_DIR", "off")
# Commands print the next ones as they were started themselves; here without `uv run`.
os.environ.pop("UV", None)
# Nothing reports to anybody, also where a test imports a client itself.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# The tests run in a process a core; more threads in each would wait for each other.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# Ray's processes give way to all others, and the suite keeps every core busy: they took minutes.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - its own name
# Else each command that a test starts compiles some hundred modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A suite that is started in the background ignores Ctrl-C, and so would the processes it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
RECORDINGS = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a long one begun last keeps one process busy and idles the rest.

    Needs ``--no-loadscope-reorder``, without which files with many tests go first.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-slow[item.path], -tests[item.path]))


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    """``write_wav(name, samples, rate_hz)`` writes into the test's folder and gives the path."""

    def write(
        name: str, samples: NDArray[np.floating], rate_hz: int = 8_000, subtype: str = "PCM_16"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate_hz, subtype=subtype, format="WAV")
        return path

    return write


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A chromium; a module at a time, since its loop would be in the way of others."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def tab(browser: "Browser") -> "Iterator[Tab]":
    """A page that may use the microphone, in which the tests of a module open their sites."""
    from tests.fixtures.tab import Tab

    context = browser.new_context(permissions=["microphone"], service_workers="block")
    yield Tab(context)
    context.close()


@pytest.fixture(scope="session")
def chords(tmp_path_factory: pytest.TempPathFactory) -> "Chords":
    """Clips of one tone or two at once, and a model that says several labels."""
    from tests.fixtures.built_once import built_once
    from tests.fixtures.chords import chords_in, train_chords

    return chords_in(built_once(tmp_path_factory, "chords", train_chords))


@pytest.fixture(scope="session")
def fsdd() -> Path:
    """The Free Spoken Digit Dataset's folder."""
    folder = RECORDINGS / "fsdd"
    if not (folder / "labels.csv").is_file():
        pytest.skip(f"needs the real recordings in {folder}")
    return folder
