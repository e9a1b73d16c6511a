"""Training learns, stops early, resumes to the same weights, and refuses invalid input."""

import io
import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.evaluation.crossval import cross_validate
from earful.training.export.export import export
from earful.training.loaders.loader import AUGMENTED_COPIES, stored_features
from earful.training.runs.progress import format_epoch
from earful.training.runs.run_metrics import write_report
from earful.training.runs.train_run import find_resume_config, train_run
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochRecord,
    load_checkpoint,
    read_checkpoint_bytes,
    rebuild_network,
    save_checkpoint,
)
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import augmented_validation, feature_statistics
from earful.training.trainer.trainer import fit
from tests.fixtures.forked_command import ForkedCommand, run_forked

SHORT = TrainConfig(epochs=4, batch_size=16, patience=10)


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_checkpoint(one).weights, load_checkpoint(other).weights
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(
    ("model", "features"),
    [("cnn", "mfcc"), pytest.param("crnn", "log_mel", marks=pytest.mark.slow)],
)
def test_a_network_learns_three_tones(
    short_tones: Dataset, tmp_path: Path, model: str, features: str
) -> None:
    config = replace(SHORT, model=model, features=features, epochs=15, learning_rate=3e-3)
    result = fit(short_tones, tmp_path, config)
    metrics = write_report(short_tones, tmp_path, result)
    assert metrics.test_of_classifier.accuracy >= 0.9
    assert result.checkpoint.best.val_loss == min(r.val_loss for r in result.checkpoint.history)


@pytest.mark.slow
def test_validation_loss_is_on_augmented_validation_clips(tones: Dataset, tmp_path: Path) -> None:
    """The validation accuracy is on clean clips."""
    config = replace(default_config("tcresnet"), epochs=2, batch_size=16, augment_strength="strong")
    result = fit(tones, tmp_path, config)
    cpu, last = torch.device("cpu"), load_checkpoint(tmp_path / LAST_CHECKPOINT)
    clean = stored_features(tones, config, "val", cpu)
    augmented = augmented_validation(tones, clean, config, cpu)
    assert len(augmented.sampler) == AUGMENTED_COPIES * len(clean.sampler)
    network, objective = rebuild_network(last), objective_for("tcresnet")
    augmented_loss, _ = objective.measure(network, augmented, config, DistributedContext())
    clean_loss, accuracy = objective.measure(network, clean, config, DistributedContext())
    assert last.history[-1].val_loss == pytest.approx(augmented_loss, rel=1e-5)
    # Two epochs barely train the network, so that the two losses are close.
    assert last.history[-1].val_loss != pytest.approx(clean_loss, rel=1e-4)
    assert last.history[-1].val_accuracy == accuracy
    assert result.checkpoint.best.val_loss == min(r.val_loss for r in last.history)


@pytest.mark.slow
def test_the_report_is_complete(tones: Dataset, tmp_path: Path) -> None:
    write_report(tones, tmp_path, fit(tones, tmp_path, SHORT))
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["parameters"] == 44_602 - 7 * 129  # three labels instead of ten
    assert written["test"]["clips"] == sum(map(sum, written["test"]["confusion"])) == 12
    assert [record["epoch"] for record in written["history"]] == [1, 2, 3, 4]
    for picture in ("curves.png", "confusion.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_autoencoder_is_trained_and_resumed_and_has_no_accuracy(
    tones: Dataset, tmp_path: Path
) -> None:
    def stop_after_second(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    config = replace(default_config("autoencoder"), epochs=5, batch_size=8)
    trained = train_run(tones, tmp_path / "whole", config)
    assert trained is not None
    metrics = trained.to_dict()
    first, last = metrics["history"][0], metrics["history"][-1]
    assert last["val_loss"] < first["val_loss"]
    assert first["accuracy"] is first["val_accuracy"] is None
    assert set(metrics["test"]) == {"clips", "reconstruction_error", "explained_variance"}
    assert metrics["validation"]["reconstruction_error"] == pytest.approx(
        min(record["val_loss"] for record in metrics["history"]), rel=1e-3
    )
    assert metrics["test"]["explained_variance"] < 1
    written = {path.name for path in (tmp_path / "whole").iterdir()}
    assert written == {
        "best.pt",
        "last.pt",
        "curves.png",
        "metrics.json",
        "trained_on.json",
    }
    assert load_checkpoint(tmp_path / "whole" / BEST_CHECKPOINT).calibration is None
    resumed = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        fit(tones, resumed, config, on_epoch=stop_after_second)
    fit(tones, resumed, config, resume=True)
    assert same_weights(tmp_path / "whole" / LAST_CHECKPOINT, resumed / LAST_CHECKPOINT)
    assert "%" not in format_epoch(load_checkpoint(resumed / LAST_CHECKPOINT).best, 5)
    with pytest.raises(EarfulError, match="autoencoder is not a classifier"):
        export(tmp_path / "whole", tmp_path / "model.onnx")
    with pytest.raises(EarfulError, match="autoencoder is not a classifier"):
        cross_validate(tones, tmp_path / "folds", config)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tones: Dataset, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(tones, tmp_path / name, replace(SHORT, seed=seed))
    assert same_weights(tmp_path / "a" / LAST_CHECKPOINT, tmp_path / "b" / LAST_CHECKPOINT)
    assert not same_weights(tmp_path / "a" / LAST_CHECKPOINT, tmp_path / "c" / LAST_CHECKPOINT)


@pytest.mark.slow
def test_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    tones: Dataset, tmp_path: Path
) -> None:
    def stop_after_second(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    fit(tones, tmp_path / "whole", SHORT)
    with pytest.raises(KeyboardInterrupt):
        fit(tones, tmp_path / "resumed", SHORT, on_epoch=stop_after_second)
    resumed = fit(tones, tmp_path / "resumed", SHORT, resume=True)
    assert resumed.resumed_after == 2
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        assert same_weights(tmp_path / "whole" / name, tmp_path / "resumed" / name)


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(tones: Dataset, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, through the command line."""
    flags = ["--model", "cnn", "--epochs", 4, "--batch-size", 4, "--device", "cpu"]

    def words(out: str) -> list[object]:
        return ["train", tones.folder, "--out", tmp_path / out]

    assert run_forked([*words("whole"), *flags]).returncode == 0
    with ForkedCommand([*words("killed"), *flags], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(line.startswith("epoch   2") for line in process.stderr)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert run_forked([*words("killed"), "--resume"]).returncode == 0
    assert same_weights(tmp_path / "whole" / LAST_CHECKPOINT, tmp_path / "killed" / LAST_CHECKPOINT)


def test_early_stopping_keeps_the_best_epoch(tones: Dataset, tmp_path: Path) -> None:
    config = replace(SHORT, epochs=50, patience=1, learning_rate=0.02)
    result = fit(tones, tmp_path, config)
    assert len(result.checkpoint.history) == result.checkpoint.best.epoch + 1 < 50
    assert len(load_checkpoint(tmp_path / BEST_CHECKPOINT).history) == result.checkpoint.best.epoch


def test_statistics_are_those_of_the_training_clips(tones: Dataset) -> None:
    batches = stored_features(tones, SHORT, "train", torch.device("cpu"))
    mean, std = feature_statistics(batches, default_config("cnn"))
    training = torch.from_numpy(tones.array("mfcc")[tones.rows("train")]).double()
    torch.testing.assert_close(mean.double(), training.mean(dim=(0, 2)), rtol=1e-5, atol=1e-4)
    expected = training.transpose(0, 1).flatten(1).std(dim=1, correction=0)
    torch.testing.assert_close(std.double(), expected, rtol=1e-5, atol=1e-4)


def test_a_run_is_not_overwritten(tones: Dataset, tmp_path: Path) -> None:
    fit(tones, tmp_path, SHORT)
    with pytest.raises(TrainingError, match="--resume"):
        fit(tones, tmp_path, SHORT)


def test_resuming_with_different_settings_is_refused_and_names_them(
    tones: Dataset, tmp_path: Path
) -> None:
    fit(tones, tmp_path, SHORT)
    with pytest.raises(TrainingError, match=r"learning_rate 0.001 -> 0.5"):
        fit(tones, tmp_path, replace(SHORT, learning_rate=0.5), resume=True)
    other = replace(tones, content_hash="another")
    with pytest.raises(TrainingError, match="content"):
        fit(other, tmp_path, SHORT, resume=True)


def test_resuming_uses_the_settings_of_the_run(tones: Dataset, tmp_path: Path) -> None:
    fit(tones, tmp_path, replace(SHORT, seed=9))
    resumed_config = find_resume_config(tmp_path)
    assert resumed_config is not None
    assert (resumed_config.seed, apply_overrides(resumed_config, {"epochs": 7}).epochs) == (9, 7)
    assert find_resume_config(tmp_path / "elsewhere") is None


def test_non_finite_loss_stops_the_run_and_keeps_the_checkpoint(
    tones: Dataset, tmp_path: Path
) -> None:
    fit(tones, tmp_path, replace(SHORT, epochs=1))
    poisoned = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    poisoned.weights["network.head.bias"].fill_(float("nan"))
    save_checkpoint(tmp_path / LAST_CHECKPOINT, poisoned)
    before = (tmp_path / BEST_CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match="--learning-rate"):
        fit(tones, tmp_path, SHORT, resume=True)
    assert (tmp_path / BEST_CHECKPOINT).read_bytes() == before


# Bytes for which the unpickler raises what it raises for no good checkpoint.
@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", b"PK\x03\x04", b"junk", b"a"])
def test_damaged_checkpoint_is_reported(tones: Dataset, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / LAST_CHECKPOINT).write_bytes(damage)
    with pytest.raises(TrainingError, match=r"^\S+ is damaged, or no checkpoint of `earful"):
        fit(tones, tmp_path, SHORT, resume=True)


def test_random_bytes_are_no_checkpoint() -> None:
    generator = np.random.default_rng(0)
    good = io.BytesIO()
    torch.save({"schema_version": 5}, good, _use_new_zipfile_serialization=False)
    for _ in range(500):
        changed = np.frombuffer(good.getvalue(), np.uint8).copy()
        changed[generator.integers(0, len(changed), 3)] = generator.integers(0, 256, 3)
        for content in (generator.bytes(40), changed.tobytes()):
            with pytest.raises(TrainingError):
                read_checkpoint_bytes(content, "last.pt")


def test_weights_of_another_network_are_reported(tones: Dataset, tmp_path: Path) -> None:
    fit(tones, tmp_path, replace(SHORT, epochs=1))
    checkpoint = load_checkpoint(tmp_path / BEST_CHECKPOINT)
    checkpoint.weights["network.head.bias"] = torch.zeros(1)
    with pytest.raises(TrainingError, match="its weights do not fit its network; train again"):
        rebuild_network(checkpoint)


# Settings and weights had other keys in schema 4.
OLD_CONFIG_KEYS = {
    "oversample": "repeats",
    "ema_decay": "averaging",
    "grad_clip": "max_gradient_norm",
}


@pytest.mark.parametrize(
    ("version", "found"),
    [(3, "schema version 3"), (4, "schema version 4"), (None, "no schema version")],
)
def test_checkpoint_of_another_schema_version_is_refused_in_one_sentence(
    tones: Dataset, tmp_path: Path, version: int | None, found: str
) -> None:
    fit(tones, tmp_path, replace(SHORT, epochs=1))
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        values = torch.load(tmp_path / name, weights_only=True)
        del values["schema_version"]
        values["learning"] = values.pop("raw_weights")
        values["config"] = {OLD_CONFIG_KEYS.get(k, k): v for k, v in values["config"].items()}
        torch.save(values | ({"schema_version": version} if version else {}), tmp_path / name)
    message = (
        rf"^the checkpoint .*\.pt has {found} and this version of Earful reads only 5; "
        r"train again into another folder: `earful train DATASET --out RUN`$"
    )
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(tmp_path / BEST_CHECKPOINT)
    with pytest.raises(TrainingError, match=message):
        fit(tones, tmp_path, SHORT, resume=True)
    with pytest.raises(TrainingError, match=message):
        export(tmp_path, tmp_path / "model.onnx")


def test_a_pickle_is_not_executed(tones: Dataset, tmp_path: Path) -> None:
    torch.save({"schema_version": Path("x")}, tmp_path / LAST_CHECKPOINT)
    with pytest.raises(TrainingError, match="damaged"):
        fit(tones, tmp_path, SHORT, resume=True)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"patience": 0}, "patience"),
        ({"features": "wavelets"}, "features"),
        ({"model": "transformer"}, "cnn"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(EarfulError, match=word):
        TrainConfig(**changes)  # type: ignore[arg-type]
