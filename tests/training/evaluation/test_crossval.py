"""Every speaker is tested once while held out; extra clips are used for training only."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.data.labels.folds import speaker_folds
from earful.data.labels.splits import SplitError
from earful.training.config.train_config import TrainingError, default_config
from earful.training.evaluation.crossval import cross_validate
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.trainer import fit

LABELS = ["a", "b"] * 12
SPEAKERS = [f"s{i // 6}" for i in range(24)]
QUICK = replace(default_config("tcresnet"), epochs=2, batch_size=16)


@pytest.mark.parametrize("n_folds", [None, 2, 3])
def test_each_clip_is_tested_once_with_its_speaker_held_out(n_folds: int | None) -> None:
    folds = speaker_folds(LABELS, SPEAKERS, n_folds)
    assert len(folds) == (n_folds or 4)
    tested = np.array([[split == "test" for split in fold.splits] for fold in folds])
    assert (tested.sum(axis=0) == 1).all()
    for fold in folds:
        speakers = {
            splits: {s for s, split in zip(SPEAKERS, fold.splits, strict=True) if split in splits}
            for splits in (("test",), ("train", "val"))
        }
        assert speakers["test",].isdisjoint(speakers["train", "val"])
        assert {"train", "val", "test"} == set(fold.splits)


@pytest.mark.parametrize("n_folds", [None, 2])
def test_windows_of_a_recording_are_in_one_part(n_folds: int | None) -> None:
    """Of speakers of several recordings, and of a recording without a speaker."""
    labels = [label for label in "ab" for _ in range(48)]
    recordings = [f"r{i // 4}" for i in range(96)]
    speakers = ["" if i < 8 else f"s{i // 4 % 4}" for i in range(96)]
    for fold in speaker_folds(labels, speakers, n_folds, recordings):
        assert len(set(zip(recordings, fold.splits, strict=True))) == 24
        assert set(fold.splits) == {"train", "val", "test"}


def test_clips_without_a_speaker_are_never_test_clips() -> None:
    folds = speaker_folds(LABELS, ["", *SPEAKERS[1:]], None)
    assert all(fold.splits[0] != "test" for fold in folds)


@pytest.mark.parametrize(
    ("labels", "speakers", "n_folds", "message"),
    [
        (LABELS, ["only"] * 24, None, "only"),
        (LABELS, [""] * 24, None, "none"),
        (LABELS, SPEAKERS, 5, "5 speakers"),
        (["c"] * 6 + LABELS[6:], SPEAKERS, None, "'c'"),
        (
            list("abcdefghijkl") * 2,
            [f"s{i}" for i in range(24)],
            5,
            "need a label with 5 clips or more",
        ),
    ],
)
def test_impossible_folds_are_refused(
    labels: list[str], speakers: list[str], n_folds: int | None, message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        speaker_folds(labels, speakers, n_folds)


@pytest.mark.slow
def test_all_folds_are_trained_reported_and_resumed(
    tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    result = cross_validate(tones, tmp_path, QUICK, auxiliary=AuxiliaryData(extra=other_tones))
    assert [fold.name for fold in result.folds] == ["speaker0", "speaker1", "speaker2", "speaker3"]
    assert sum(fold.clips for fold in result.folds) == 60
    assert result.minimum.accuracy <= result.mean <= 1
    written = json.loads((tmp_path / "crossval.json").read_text())
    assert written["mean"] == result.mean
    again = cross_validate(tones, tmp_path, QUICK, auxiliary=AuxiliaryData(extra=other_tones))
    assert again == result
    assert "mean" in result.text()


@pytest.mark.slow
def test_the_datasets_own_folds_are_tested_in_turn(tones: Dataset, tmp_path: Path) -> None:
    folds = [str(8 + n % 3) for n in range(60)]
    own = replace(tones, clips=tones.clips.assign(fold=folds))
    result = cross_validate(own, tmp_path, replace(QUICK, epochs=1), folds="column")
    assert [(fold.name, fold.clips) for fold in result.folds] == [("8", 20), ("9", 20), ("10", 20)]
    accuracies = [fold.accuracy for fold in result.folds]
    assert result.std == pytest.approx(np.std(accuracies))
    assert f"(standard deviation {100 * result.std:.2f})" in result.text()
    assert json.loads((tmp_path / "fold1" / "metrics.json").read_text())["split_mode"] == "fold"


def test_a_dataset_without_folds_is_refused(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="the clips have no folds; name the column"):
        cross_validate(tones, tmp_path, QUICK, folds="column")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_finished_folds_of_another_split_are_not_reused(tones: Dataset, tmp_path: Path) -> None:
    quick = replace(QUICK, epochs=1)
    cross_validate(tones, tmp_path, quick, folds=2)
    with pytest.raises(TrainingError, match="the dataset's content"):
        cross_validate(tones, tmp_path, quick, folds=4)


def test_tested_speaker_in_auxiliary_data_is_refused(tones: Dataset, tmp_path: Path) -> None:
    again = replace(tones, clips=tones.clips.assign(sha256="other take"))
    with pytest.raises(TrainingError, match="has clips of the test speakers speaker0 of"):
        cross_validate(tones, tmp_path, QUICK, auxiliary=AuxiliaryData(extra=again))
    assert not list(tmp_path.iterdir())


def test_extra_clips_need_the_same_labels_and_features(
    tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="labels"):
        fit(
            tones,
            tmp_path,
            QUICK,
            auxiliary=AuxiliaryData(extra=replace(other_tones, labels=("low", "other"))),
        )
    features = replace(tones.features, n_mels=20, n_mfcc=20)
    with pytest.raises(TrainingError, match="--sample-rate"):
        fit(
            tones,
            tmp_path,
            QUICK,
            auxiliary=AuxiliaryData(extra=replace(other_tones, features=features)),
        )


def test_test_clips_are_refused_as_extra_clips(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must not be trained on"):
        fit(tones, tmp_path, QUICK, auxiliary=AuxiliaryData(extra=tones))


@pytest.mark.slow
def test_augmented_training_resumes_to_the_same_weights(tones: Dataset, tmp_path: Path) -> None:
    """With EMA, mixup and a schedule: all of it depends only on (seed, epoch, step)."""

    def stop_after_first(record: EpochRecord) -> None:
        if record.epoch == 1:
            raise KeyboardInterrupt

    config = replace(QUICK, epochs=3, mixup=0.5)
    whole = fit(tones, tmp_path / "whole", config).checkpoint.weights
    with pytest.raises(KeyboardInterrupt):
        fit(tones, tmp_path / "cut", config, on_epoch=stop_after_first)
    resumed = fit(tones, tmp_path / "cut", config, resume=True).checkpoint.weights
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
