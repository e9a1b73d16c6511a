"""``retrain`` given again: it says what is true now, and continues after ``kill -9``."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.models.registry.registry import Registry
from tests.fixtures.server import EARFUL
from tests.training.retraining.conftest import Run

NewClips = Callable[..., Path]
pytestmark = pytest.mark.slow
STAGES = ("plan", "prepare", "train", "export", "compare", "publish")


def test_a_request_given_again_says_what_its_version_is_by_then(
    run: Run, registry: Registry, new_clips: NewClips
) -> None:
    labels, others = new_clips({"low": 255.0}, 2), new_clips({"mid": 705.0}, 2, "others")

    def again() -> str:
        outcome = run(labels, epochs=1, promote=False)
        assert outcome.version is not None
        assert outcome.version.number == 2
        assert outcome.note == "already registered by the same request"
        return str(outcome.standing)

    first = run(labels, epochs=1, promote=False)
    assert str(first.standing) == "tones@2 is challenger"
    assert again() == "tones@2 is challenger"
    assert str(run(others, epochs=1, promote=False).standing) == "tones@3 is challenger"
    assert again() == (
        "tones@2 is neither champion nor challenger (the champion is version 1, the challenger is "
        "version 3)"
    )
    registry.promote("tones", 2)
    assert again() == "tones@2 is champion"
    registry.rollback("tones")
    assert again().startswith("tones@2 is rolled back, and neither champion nor challenger")
    registry.prune("tones", 0)
    anew = run(labels, epochs=1, promote=False)
    assert str(anew.standing) == "tones@4 is challenger", "its version was deleted"


def test_not_promoted_names_the_command_that_promotes_anyway(
    registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    words = [*EARFUL, "retrain", "tones", "--new", str(new_clips({"low": 250.0}))]
    words += ["--registry", registry.root, "--work", str(tmp_path / "work")]
    words += ["--from-scratch", "--epochs", "1"]  # too short to learn
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    command = f"models promote tones 2 --registry {registry.root}"
    [line] = [line for line in done.stdout.splitlines() if line.startswith("promote it anyway:")]
    assert line.endswith(f" {command}")
    assert "not promoted: " in done.stdout
    again = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    content = json.loads(again.stdout)
    assert (again.returncode, content["role"], content["promoted"]) == (1, "challenger", False)
    assert content["next"].endswith(f" {command}")
    assert content["reasons"]
    subprocess.run([*EARFUL, *command.split(" ")], check=True, capture_output=True)
    promoted = subprocess.run(words, capture_output=True, text=True, check=False)
    assert promoted.returncode == 0
    assert "tones@2 is champion" in promoted.stdout
    assert "not promoted" not in promoted.stdout


def test_a_retraining_killed_after_each_stage_goes_on_and_registers_one_version(
    registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    words = [*EARFUL, "retrain", "tones", "--new", str(new_clips({"low": 260.0, "mid": 690.0}, 4))]
    words += ["--registry", registry.root, "--work", str(tmp_path / "work"), "--epochs", "2"]
    for stage in STAGES:
        with subprocess.Popen(
            [*words, "--no-promote"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            lines = (line.strip() for line in process.stderr)
            assert stage in lines, "every stage starts again, or was done before"
            process.kill()
        assert registry.version("tones").number == 1
    done = subprocess.run([*words, "--no-promote"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stderr, "its epochs were done"
    assert [version.number for version in registry.versions("tones")] == [1, 2]
    assert registry.aliases("tones").aliases == {"champion": 1, "challenger": 2}
