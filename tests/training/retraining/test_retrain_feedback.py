"""``retrain --from-feedback`` as a command: who corrects what, and what is deleted meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from earful.data.errors import UsageError
from earful.data.labels.clip import Clip
from earful.models.registry.records import DATA_FILE
from earful.models.registry.registry import Registry
from earful.training.releases.manifest import from_csv
from tests.fixtures.feedback import FeedbackPlace
from tests.fixtures.synthetic_audio import tone, wav
from tests.training.retraining.conftest import Command

pytestmark = pytest.mark.slow


@pytest.fixture
def feedback(tmp_path: Path) -> FeedbackPlace:
    return FeedbackPlace(tmp_path)


def retrain(command: Command, feedback: FeedbackPlace, *flags: object) -> Result:
    return command("retrain", "tones", "--from-feedback", *feedback.flags, *flags)


def rows_of(registry: Registry, number: int) -> list[Clip]:
    version = registry.version("tones", number)
    return from_csv(registry.read("tones", version, DATA_FILE), "here")


def curated(registry: Registry, count: int) -> list[Path]:
    """Files of training clips with the label ``low``."""
    rows = [row for row in rows_of(registry, 1) if (row.label, row.split) == ("low", "train")]
    return [row.path for row in rows[:count]]


def plan_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    plan: dict[str, Any] = json.loads(done.stdout)["plan"]
    return plan


def test_one_voice_is_listed_and_not_taken_two_voices_or_a_trusted_one_are(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    alone, together = curated(registry, 2)
    feedback.give(alone.read_bytes(), "mid", "mallory", "s1")
    feedback.give(together.read_bytes(), "mid", "anna", "s1")
    feedback.give(together.read_bytes(), "mid", "bob", "s2")
    done = retrain(command, feedback, "--dry-run")
    assert done.exit_code == 0, "what is kept is no failure"
    lines = done.stdout.splitlines()
    assert f"changed: {together}: low -> mid, by anna, bob" in lines
    assert f"kept as curated: {alone}: low -> mid, by mallory" in lines
    assert any("accept it with --trust NAME" in line for line in lines)
    plan = plan_of(retrain(command, feedback, "--dry-run", "--json"))
    assert [(c["filename"], c["old"], c["new"], c["by"]) for c in plan["changed_labels"]] == [
        (str(together), "low", "mid", "anna, bob")
    ]
    assert [change["by"] for change in plan["kept_labels"]] == ["mallory"]
    for trust in ("--trust=mallory", "--trust=all"):
        trusted = plan_of(retrain(command, feedback, "--dry-run", "--json", trust))
        assert {change["by"] for change in trusted["changed_labels"]} == {"mallory", "anna, bob"}
        assert trusted["kept_labels"] == []
    assert [version.number for version in registry.versions("tones")] == [1]


def test_only_kept_corrections_leave_nothing_to_train_and_the_note_says_why(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    [file] = curated(registry, 1)
    feedback.give(file.read_bytes(), "mid", "mallory", "s1")
    done = retrain(command, feedback)
    assert done.exit_code == 0, done.output
    assert "nothing to train: curated labels are kept (1)" in done.stdout
    assert f"kept as curated: {file}: low -> mid, by mallory" in done.stdout
    assert [version.number for version in registry.versions("tones")] == [1]


def test_trust_goes_with_feedback_only(command: Command, tmp_path: Path) -> None:
    done = command("retrain", "tones", "--new", tmp_path / "x.csv", "--trust", "anna")
    assert isinstance(done.exception, UsageError)
    assert "it goes with --from-feedback" in str(done.exception)


def test_feedback_deleted_between_dry_run_and_run_is_not_trained_on(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    for n, annotator in enumerate(("anna", "anna", "bob")):
        feedback.give(wav(tone("low", 0.41 + 0.01 * n)), "low", annotator, annotator)
    assert plan_of(retrain(command, feedback, "--dry-run", "--json"))["added"] == 3
    erase = ("feedback", "delete", "--yes", *feedback.flags, "--annotator")
    assert command(*erase, "anna").exit_code == 0
    done = retrain(command, feedback, "--json", "--epochs", "1", "--no-promote")
    assert plan_of(done)["added"] == 1
    of_feedback = [row for row in rows_of(registry, 2) if row.provenance.source == "feedback"]
    assert len(of_feedback) == 1
    assert of_feedback[0].path.is_file()
    assert command(*erase, "bob").exit_code == 0
    nothing = retrain(command, feedback)
    assert (nothing.exit_code, "nothing to train" in nothing.stdout) == (0, True), nothing.output
    assert [version.number for version in registry.versions("tones")] == [1, 2]
