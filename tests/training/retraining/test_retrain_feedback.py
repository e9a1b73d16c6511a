"""``retrain --from-feedback`` as a command: who corrects what, and what is deleted meanwhile."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earful.models.registry.records import DATA_FILE
from earful.models.registry.registry import Registry
from earful.training.releases.manifest import ManifestRow, from_csv
from tests.fixtures.feedback import FeedbackPlace
from tests.fixtures.server import EARFUL
from tests.fixtures.synthetic_audio import tone, wav

pytestmark = pytest.mark.slow
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def feedback(tmp_path: Path) -> FeedbackPlace:
    return FeedbackPlace(tmp_path)


@pytest.fixture
def command(registry: Registry, feedback: FeedbackPlace, tmp_path: Path) -> Command:
    """``command("--dry-run")`` retrains the tones with the feedback."""

    def run(*flags: str) -> "subprocess.CompletedProcess[str]":
        place = ("--registry", registry.root, "--work", str(tmp_path / "work"))
        words = [*EARFUL, "retrain", "tones", "--from-feedback", *feedback.flags, *place, *flags]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    return run


def rows_of(registry: Registry, number: int) -> list[ManifestRow]:
    version = registry.version("tones", number)
    return from_csv(registry.read("tones", version, DATA_FILE), "here")


def curated(registry: Registry, count: int) -> list[Path]:
    """Files of training clips with the label ``low``."""
    rows = [row for row in rows_of(registry, 1) if (row.label, row.split) == ("low", "train")]
    return [row.path for row in rows[:count]]


def plan_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)["plan"]
    return plan


def test_one_voice_is_listed_and_not_taken_two_voices_or_a_trusted_one_are(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    alone, together = curated(registry, 2)
    feedback.give(alone.read_bytes(), "mid", "mallory", "s1")
    feedback.give(together.read_bytes(), "mid", "anna", "s1")
    feedback.give(together.read_bytes(), "mid", "bob", "s2")
    done = command("--dry-run")
    assert done.returncode == 0, "what is kept is no failure"
    lines = done.stdout.splitlines()
    assert f"changed: {together}: low -> mid, by anna, bob" in lines
    assert f"kept as curated: {alone}: low -> mid, by mallory" in lines
    assert any("accept it with --trust NAME" in line for line in lines)
    plan = plan_of(command("--dry-run", "--json"))
    assert [(c["filename"], c["old"], c["new"], c["by"]) for c in plan["changed_labels"]] == [
        (str(together), "low", "mid", "anna, bob")
    ]
    assert [change["by"] for change in plan["kept_labels"]] == ["mallory"]
    for trust in ("--trust=mallory", "--trust=all"):
        trusted = plan_of(command("--dry-run", "--json", trust))
        assert {change["by"] for change in trusted["changed_labels"]} == {"mallory", "anna, bob"}
        assert trusted["kept_labels"] == []
    assert [version.number for version in registry.versions("tones")] == [1]


def test_only_kept_corrections_leave_nothing_to_train_and_the_note_says_why(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    [file] = curated(registry, 1)
    feedback.give(file.read_bytes(), "mid", "mallory", "s1")
    done = command()
    assert done.returncode == 0, done.stderr
    assert "nothing to train: 1 curated labels are kept" in done.stdout
    assert f"kept as curated: {file}: low -> mid, by mallory" in done.stdout
    assert [version.number for version in registry.versions("tones")] == [1]


def test_trust_goes_with_feedback_only(tmp_path: Path) -> None:
    words = [*EARFUL, "retrain", "tones", "--new", str(tmp_path / "x.csv"), "--trust", "anna"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "it goes with --from-feedback" in done.stderr


def test_feedback_deleted_between_dry_run_and_run_is_not_trained_on(
    registry: Registry, feedback: FeedbackPlace, command: Command
) -> None:
    for n, annotator in enumerate(("anna", "anna", "bob")):
        feedback.give(wav(tone("low", 0.41 + 0.01 * n)), "low", annotator, annotator)
    assert plan_of(command("--dry-run", "--json"))["added"] == 3
    erase = [*EARFUL, "feedback", "delete", "--annotator", "anna", "--yes", *feedback.flags]
    subprocess.run(erase, check=True, capture_output=True)
    done = command("--json", "--epochs", "1", "--no-promote")
    assert plan_of(done)["added"] == 1
    of_feedback = [row for row in rows_of(registry, 2) if row.source == "feedback"]
    assert len(of_feedback) == 1
    assert of_feedback[0].path.is_file()
    subprocess.run([word if word != "anna" else "bob" for word in erase], check=True)
    nothing = command()
    assert (nothing.returncode, "nothing to train" in nothing.stdout) == (0, True), nothing.stderr
    assert [version.number for version in registry.versions("tones")] == [1, 2]
