"""``retrain`` given again: it says what is true now, and continues after ``kill -9``."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.data.labels.labels_csv import read_labels
from earful.models.registry.registry import Registry
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import RetrainOptions
from earful.training.retraining.retrain import retrain
from tests.fixtures.forked import FORKED, exit_code_of
from tests.training.retraining.conftest import Command, Run

NewClips = Callable[..., Path]
pytestmark = pytest.mark.slow
STAGES = ("plan", "prepare", "train", "export", "compare", "publish")


def test_a_request_given_again_says_what_its_version_is_by_then(
    run: Run, registry: Registry, new_clips: NewClips
) -> None:
    labels = new_clips({"low": 255.0}, 2)

    def again() -> str:
        outcome = run(labels, epochs=1, promote=False)
        assert outcome.version is not None
        assert outcome.version.number == 2
        assert outcome.note == "already registered by the same request"
        return str(outcome.standing)

    first = run(labels, epochs=1, promote=False)
    assert str(first.standing) == "tones@2 is challenger"
    assert again() == "tones@2 is challenger"
    registry.register("tones", {"model.onnx": b"another"}, alias="challenger")
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


def test_a_worse_candidate_is_challenger_and_the_command_that_promotes_it_anyway_is_named(
    registry: Registry, new_clips: NewClips, command: Command
) -> None:
    # Too short to learn.
    words = ("retrain", "tones", "--new", new_clips({"low": 250.0}), "--from-scratch")
    retrain = (*words, "--epochs", 1)
    done = command(*retrain)
    assert registry.aliases("tones").aliases == {"champion": 1, "challenger": 2}
    gate = json.loads(registry.read("tones", registry.version("tones", 2), "gate.json"))
    assert not gate["passed"]
    page = registry.read("tones", registry.version("tones", 2), "report.html").decode()
    assert "Not passed" in page
    assert done.exit_code == 1, done.output
    promote = f"models promote tones 2 --registry {registry.root}"
    [line] = [line for line in done.stdout.splitlines() if line.startswith("promote it anyway:")]
    assert line.endswith(f" {promote}")
    assert "not promoted: " in done.stdout
    again = command(*retrain, "--json")
    assert registry.numbers("tones") == [1, 2]
    content = json.loads(again.stdout)
    assert (again.exit_code, content["role"], content["promoted"]) == (1, "challenger", False)
    assert content["next"].endswith(f" {promote}")
    assert content["reasons"]
    assert command("models", "promote", "tones", 2).exit_code == 0
    promoted = command(*retrain)
    assert promoted.exit_code == 0, promoted.output
    assert "tones@2 is champion" in promoted.stdout
    assert "not promoted" not in promoted.stdout


@pytest.mark.timeout(600)
def test_a_retraining_killed_after_each_stage_goes_on_and_registers_one_version(
    registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    labels = new_clips({"low": 260.0, "mid": 690.0}, 4)
    place = (registry.root, labels, tmp_path / "work")
    for stage in STAGES:
        assert exit_code_of_retraining(*place, stage) == -signal.SIGKILL
        assert registry.numbers("tones") == [1], stage
    assert exit_code_of_retraining(*place, "") == 0
    assert registry.numbers("tones") == [1, 2]
    assert registry.aliases("tones").aliases == {"champion": 1, "challenger": 2}
    assert not [path for path in (tmp_path / "work" / "tones").iterdir() if path.is_dir()]


def exit_code_of_retraining(root: str, labels: Path, work: Path, last_stage: str) -> int | None:
    """Retrain in a process that kills itself at the start of a stage."""
    process = FORKED.Process(target=retrain_until, args=(root, labels, work, last_stage))
    process.start()
    return exit_code_of(process)


def retrain_until(root: str, labels: Path, work: Path, last_stage: str) -> None:
    def on_stage(stage: str) -> None:
        if stage == last_stage:
            os.kill(os.getpid(), signal.SIGKILL)

    options = RetrainOptions(epochs=2)
    clips = read_labels(labels)
    outcome = retrain(
        RetrainJob(
            Registry(root),
            "tones",
            clips,
            "new.csv",
            options,
            work,
            promote=False,
            device="cpu",
            on_stage=on_stage,
        )
    )
    assert str(outcome.standing) == "tones@2 is challenger"
