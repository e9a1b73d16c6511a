"""Retraining end to end: promoted, kept as challenger, refused, killed and repeated."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from earful.data.dataset.dataset import open_dataset
from earful.data.labels.clip import Clip, Provenance
from earful.data.labels.labels_csv import read_labels
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHECKPOINT_FILE
from earful.models.registry.registry import Registry
from earful.models.registry.source import open_source
from earful.service.classifier import Classifier
from earful.service.core.retrain_lock import RetrainFolder, RetrainFolderError
from earful.training.config.train_config import TrainingError, default_config
from earful.training.releases.manifest import from_csv, to_csv
from earful.training.releases.register import register
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import Plan, RetrainOptions
from earful.training.retraining.plan_retraining import plan_retraining
from earful.training.retraining.retrain import retrain
from earful.training.runs.train_run import train_run
from tests.fixtures.killing import kill_when, run_to_the_end
from tests.fixtures.synthetic_audio import RATE_HZ, tone
from tests.training.retraining.conftest import Run

NewClips = Callable[..., Path]
pytestmark = pytest.mark.slow
KILLS = 3


def test_fitted_baseline_is_refitted_to_old_and_new_clips(
    champion: Path, registry: Registry, run: Run, new_clips: NewClips, tmp_path: Path
) -> None:
    config = default_config("logistic")
    train_run(open_dataset(champion / "dataset"), tmp_path / "fitted", config)
    registered = register(registry, "tones", tmp_path / "fitted", data=champion / "dataset")
    first = registered.version
    registry.promote("tones", first.number)
    outcome = run(new_clips({"shrill": 3000.0}, 12), add_labels=True)
    assert outcome.promoted
    assert outcome.version is not None
    assert outcome.version.number > first.number
    assert "shrill" in Classifier.open(open_source("tones", registry.root).resolve().path).labels


def contents(registry: Registry) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in Path(registry.root).rglob("*") if p.is_file()}


def test_new_label_is_trained_promoted_and_served_and_rerunning_changes_nothing(
    run: Run, registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    labels = new_clips({"top": 3000.0}, 20)
    outcome = run(labels, add_labels=True, epochs=12)
    assert outcome.gate_result is not None
    assert outcome.promoted, outcome.gate_result.failures()
    new_label = [check for check in outcome.gate_result.checks if check.kind == "new label"]
    assert [(check.name, check.clips, check.candidate) for check in new_label] == [("top", 4, 1.0)]
    classifier = Classifier.open(open_source("tones", registry.root).resolve().path)
    assert classifier.labels == ("high", "low", "mid", "top")
    assert classifier.classify_file(labels.parent / "top3.wav").label == "top"
    soundfile.write(tmp_path / "low.wav", tone("low"), RATE_HZ)
    assert classifier.classify_file(tmp_path / "low.wav").label == "low", (
        "the other labels still work"
    )
    assert list((tmp_path / "work" / "tones").iterdir()), "lock and status are kept"
    assert not [p for p in (tmp_path / "work" / "tones").iterdir() if p.is_dir()]

    before = contents(registry)
    again = run(labels, add_labels=True, epochs=12)
    assert again.version is not None
    assert (again.version.number, again.gate_result) == (2, None)
    other = run(labels, add_labels=True, epochs=3)
    assert "nothing to train" in other.note
    assert contents(registry) == before

    registry.rollback("tones")
    undone = run(labels, add_labels=True, epochs=12)
    assert (undone.version and undone.version.number, undone.promoted) == (2, False)
    assert registry.version("tones").number == 1, (
        "a rollback is not undone by repeating the request"
    )
    registry.promote("tones", 2)


def test_a_model_without_a_removed_label_is_promoted(run: Run, registry: Registry) -> None:
    outcome = run(None, remove_labels=("mid",))
    assert outcome.promoted
    assert registry.aliases("tones").aliases["champion"] == 2
    served = Classifier.open(open_source("tones", registry.root).resolve().path)
    assert served.labels == ("high", "low")
    assert registry.rollback("tones").number == 1


def test_unusable_input_is_refused_and_the_registry_unchanged(
    run: Run, registry: Registry, new_clips: NewClips, champion: Path, tmp_path: Path
) -> None:
    before = contents(registry)
    with pytest.raises(TrainingError, match="unknown labels: 'top'"):
        run(new_clips({"top": 3000.0}))
    # A copy of a test clip with another name and file format.
    rows = (champion / "dataset" / "test.csv").read_text().splitlines()
    path, label = rows[1].split(",")[:2]
    samples, rate_hz = soundfile.read(path, dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, rate_hz)
    (tmp_path / "leak.csv").write_text(f"filename,label\ncopy.flac,{label}\n")
    with pytest.raises(TrainingError, match="its audio is in the frozen test set"):
        run(tmp_path / "leak.csv")
    with (
        RetrainFolder(tmp_path / "work" / "tones").locked(),
        pytest.raises(RetrainFolderError, match="another retr"),
    ):
        run(new_clips({"low": 250.0}, name="more"))
    labels = read_labels(tmp_path / "leak.csv")
    with pytest.raises(RegistryError, match=r"no model 'other' \(there are: tones\)"):
        retrain(RetrainJob(registry, "other", labels, "", RetrainOptions(), tmp_path / "w"))
    assert contents(registry) == before
    (Path(registry.root) / "tones" / "aliases.json").unlink()
    with pytest.raises(RegistryError, match="has no champion"):
        run(tmp_path / "leak.csv")


def test_changed_file_of_the_base_is_refused(
    champion: Path, champion_registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    shutil.copytree(champion / "clips", tmp_path / "clips")
    registry = Registry(str(tmp_path / "registry"))
    version = champion_registry.version("tones")
    files = {name: champion_registry.read("tones", version, name) for name in version.files}
    moved = files["data.csv"].replace(
        str(champion / "clips").encode(), str(tmp_path / "clips").encode()
    )
    registry.register("tones", {**files, "data.csv": moved})
    path = next((tmp_path / "clips").glob("low*.wav"))
    soundfile.write(path, tone("mid"), RATE_HZ)
    labels = read_labels(new_clips({"low": 250.0}))
    job = RetrainJob(registry, "tones", labels, "", RetrainOptions(), tmp_path / "work")
    with pytest.raises(TrainingError, match=f"have changed since .*{path.name}"):
        retrain(job)


def test_a_correction_by_a_csv_names_its_row_also_where_a_column_names_the_annotator(
    registry: Registry, tmp_path: Path
) -> None:
    rows = from_csv(registry.read("tones", registry.version("tones"), "data.csv"), "here")
    first = next(row for row in rows if (row.label, row.split) == ("low", "train"))
    labels_csv = tmp_path / "labels.csv"
    labels_csv.write_text(f"filename,label,annotator\n{first.path},high,eve\n")
    labelled = read_labels(labels_csv)
    assert [clip.provenance.annotator for clip in labelled.clips] == ["eve"]
    job = RetrainJob(registry, "tones", labelled, "new.csv", RetrainOptions(), tmp_path / "work")
    plan = plan_retraining(job).plan
    assert plan is not None
    assert [(change.old, change.new, change.by) for change in plan.changed_labels] == [
        ("low", "high", "new.csv, line 2")
    ]


def test_a_new_label_without_held_out_clips_is_registered_and_not_promoted(
    run: Run, new_clips: NewClips, registry: Registry
) -> None:
    outcome = run(new_clips({"beep": 2500.0}, 2), add_labels=True, epochs=1)
    assert (outcome.promoted, outcome.version is None) == (False, False)
    assert "new label 'beep': no held-out clips; give three or more clips of the label" in (
        outcome.reasons
    )
    assert registry.version("tones").number == 1


def test_deleted_feedback_recordings_are_skipped_unless_a_label_would_vanish(
    champion_registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    version = champion_registry.version("tones")
    files = {name: champion_registry.read("tones", version, name) for name in version.files}
    rows = from_csv(files["data.csv"], "here")
    trained = [row for row in rows if row.label == "low"]
    labelled = read_labels(new_clips({"mid": 700.0}, 2))

    def planned(name: str, deleted: list[Clip], **options: object) -> Plan | None:
        with_deleted = [
            replace(row, path=tmp_path / "gone.wav", provenance=Provenance("feedback"))
            if row in deleted
            else row
            for row in rows
        ]
        registry = Registry(str(tmp_path / name))
        registry.register("tones", {**files, "data.csv": to_csv(with_deleted)})
        retrain_options = RetrainOptions(**options)  # type: ignore[arg-type]
        job = RetrainJob(registry, "tones", labelled, "new.csv", retrain_options, tmp_path / "work")
        return plan_retraining(job).plan

    some = planned("some", [row for row in trained if row.split == "train"][:2])
    assert some is not None
    assert (some.deleted_feedback, some.added, len(some.rows)) == (2, 2, len(rows))
    with pytest.raises(TrainingError, match="all recordings of 'low' are missing"):
        planned("all", trained)
    without = planned("removed", trained, remove_labels=("low",))
    assert without is not None
    assert without.labels == ("high", "mid")


def test_version_without_run_or_data_names_what_is_missing(
    champion: Path, run: Run, new_clips: NewClips, registry: Registry
) -> None:
    labels = new_clips({"low": 250.0})
    version = registry.version("tones")
    files = {n: registry.read("tones", version, n) for n in version.files if n != CHECKPOINT_FILE}
    registry.register("tones", files, alias="champion")
    with pytest.raises(TrainingError, match="no checkpoint to continue from; use --from-scratch"):
        run(labels)
    assert run(labels, from_scratch=True, epochs=25).promoted
    register(registry, "tones", champion / "tones.onnx", alias="champion")
    with pytest.raises(TrainingError, match="registered without its data"):
        run(labels)


def test_run_killed_at_random_moments_registers_one_version(
    registry: Registry, new_clips: NewClips, tmp_path: Path
) -> None:
    labels = new_clips({"low": 260.0, "mid": 690.0}, 10)
    words: list[object] = ["retrain", "tones", "--epochs", 3, "--device", "cpu", "--new", labels]
    words += ["--registry", registry.root, "--work", tmp_path / "work"]
    moments = random.Random(1)
    kills = 0
    for _ in range(KILLS):
        kills += kill_when(words, tmp_path, moments.randint(1, 12))
        assert registry.version("tones").number in {1, 2}
    assert kills >= 1
    run_to_the_end(words)
    assert [version.number for version in registry.versions("tones")] == [1, 2]
    assert registry.aliases("tones").aliases == {"champion": 2}
    assert [e.action for e in registry.events("tones")].count("promote") == 2
