"""TensorBoard reads the values that were logged, also of a resumed run."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainConfig
from earful.training.runs import event_log
from earful.training.runs.event_log import (
    LOG_FOLDER,
    EventLog,
    sample_rows,
    scalars,
    spectrogram_image,
)
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth
from earful.training.trainer.trainer import fit

CONFIG = TrainConfig(epochs=3, batch_size=32)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    unlimited = {"audio": 0, "images": 0, "scalars": 0}
    return EventAccumulator(str(folder), size_guidance=unlimited).Reload()


def curve(folder: Path, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in read(folder).Scalars(tag)}


@pytest.fixture(scope="module")
def logged(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run = tmp_path_factory.mktemp("logged")
    log = EventLog(run)
    metrics = train_run(tones, run, CONFIG, progress=TrainingProgress(on_epoch=log.on_epoch))
    log.finish(tones)
    assert metrics is not None
    return run, metrics.to_dict()


def test_curves_match_metrics_json(logged: tuple[Path, dict[str, Any]]) -> None:
    run, metrics = logged
    for tag, name in (("loss/validation", "val_loss"), ("accuracy/training", "accuracy")):
        expected = {row["epoch"]: row[name] for row in metrics["history"]}
        assert curve(run / LOG_FOLDER, tag) == pytest.approx(expected, rel=1e-6)


def test_layers_have_curves_and_missing_values_have_none() -> None:
    layers = (LayerHealth("blocks.1", 0.25, None), LayerHealth("head", None, 1e-3))
    values = scalars(EpochRecord(1, 0.5, None, 0.25, None, 1.0, 1e-3, layers))
    assert values["dead_share/blocks.1"] == 0.25
    assert values["gradient_rms/head"] == 1e-3
    assert not {"accuracy/training", "gradient_rms/blocks.1", "dead_share/head"} & set(values)


def test_clips_audio_and_confusion_matrix_are_logged(
    logged: tuple[Path, dict[str, Any]], tones: Dataset
) -> None:
    log = read(logged[0] / LOG_FOLDER)
    rows = sample_rows(tones)
    names = {f"clips/{tones.clips['label'][row]} ({tones.clips['id'][row]})" for row in rows}
    assert set(log.Tags()["images"]) == {"confusion"} | names
    assert set(log.Tags()["audio"]) == names
    audio = log.Audio(next(iter(names)))[0]
    assert (audio.sample_rate, audio.step) == (tones.features.sample_rate_hz, 3)
    assert set(tones.clips["label"].iloc[list(rows)]) == set(tones.labels)


def test_resumed_run_has_one_curve_without_the_lost_epochs(tones: Dataset, tmp_path: Path) -> None:
    """Epochs 3 and 4 were logged and their checkpoints lost: 3 is trained and logged again."""
    first = EventLog(tmp_path)
    fit(tones, tmp_path, TrainConfig(epochs=2, batch_size=32), on_epoch=first.on_epoch)
    for epoch in (3, 4):
        first.on_epoch(EpochRecord(epoch, 9.0, 0.0, 9.0, 0.0, 1.0, 1e-3))
    first.finish(tones)
    again = EventLog(tmp_path)
    result = fit(tones, tmp_path, CONFIG, resume=True, on_epoch=again.on_epoch)
    again.finish(tones)
    expected = {record.epoch: record.val_loss for record in result.checkpoint.history}
    assert curve(tmp_path / LOG_FOLDER, "loss/validation") == pytest.approx(expected, rel=1e-6)
    assert set(expected) == {1, 2, 3}


def test_log_of_a_resumed_run_that_had_none_has_all_epochs(tones: Dataset, tmp_path: Path) -> None:
    fit(tones, tmp_path, TrainConfig(epochs=2, batch_size=32))
    log = EventLog(tmp_path, tmp_path / "elsewhere")
    fit(tones, tmp_path, CONFIG, resume=True, on_epoch=log.on_epoch)
    assert set(curve(tmp_path / "elsewhere", "learning_rate")) == {1, 2, 3}
    assert not (tmp_path / LOG_FOLDER).exists()


def test_spectrogram_is_brightest_at_the_sound_with_low_bands_at_the_bottom() -> None:
    log_mel = np.full((10, 20), -80.0, np.float32)
    log_mel[2, 5] = 0.0
    brightness = spectrogram_image(log_mel).sum(axis=2)
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert (9 - row // 4, column // 4) == (2, 5)


def test_tensorboard_is_not_loaded_before_an_epoch_is_logged(
    tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = importlib.reload(event_log).EventLog(tmp_path)
    log.finish(tones)
    with pytest.raises(ModuleNotFoundError, match="tensorboard"):
        log.on_epoch(EpochRecord(1, 0.5, 0.5, 0.5, 0.5, 1.0, 1e-3))


def test_every_value_of_an_epoch_is_logged(logged: tuple[Path, dict[str, Any]]) -> None:
    run, metrics = logged
    for tag, value in scalars(EpochRecord.from_dict(metrics["history"][-1])).items():
        assert curve(run / LOG_FOLDER, tag)[3] == pytest.approx(value, rel=1e-6)
