"""``--model auto``: who takes part, on which clips, who wins, and what the run then says."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import earful
from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError
from earful.training.contest.contenders import choose_contenders
from earful.training.contest.contest import (
    Contest,
    ContestRow,
    _folds,
    _lead_p_value,
    hold_contest,
    needs_folds,
    was_in_folds,
)
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.runs import train_run as train_run_module
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint


def names(dataset: Dataset, auxiliary: AuxiliaryData = NO_AUXILIARY_DATA) -> list[str]:
    contenders = choose_contenders(dataset, auxiliary, seed=1, features=None, in_folds=False)
    return [contender.model for contender in contenders.networks]


def grown(dataset: Dataset, times: int) -> Dataset:
    """A view with each clip several times: only counts are looked at."""
    clips = dataset.clips.loc[np.repeat(dataset.clips.index, times)].reset_index(drop=True)
    return replace(dataset, clips=clips, label_matrix=np.repeat(dataset.label_matrix, times, 0))


def test_networks_that_are_trained_need_clips_enough(tones: Dataset) -> None:
    cheap = ["logistic", "svm", "encoder"]
    assert names(tones) == cheap
    assert names(grown(tones, 20)) == [*cheap, "tcresnet", "encoder-finetuned"]
    assert "svm" not in names(grown(tones, 200))


def test_negatives_and_several_labels_leave_networks_that_can_learn_from_them(
    tones: Dataset,
) -> None:
    assert names(tones, AuxiliaryData(negatives=tones)) == ["encoder"]
    matrix = tones.label_matrix.copy()
    matrix[0] = True
    assert names(replace(tones, label_matrix=matrix)) == ["encoder"]


def test_why_a_network_is_left_out_is_said(tones: Dataset) -> None:
    low_rate = replace(tones, features=replace(tones.features, sample_rate_hz=7_000, f_max_hz=3000))
    contenders = choose_contenders(
        low_rate, NO_AUXILIARY_DATA, seed=1, features="mfcc", in_folds=True
    )
    reasons = dict(text.split(": ", 1) for text in contenders.left_out)
    assert reasons["encoder"] == "it has its own front end, and --features mfcc was given"
    assert reasons["tcresnet"] == "there are too few validation clips to judge it by"
    plain = choose_contenders(low_rate, NO_AUXILIARY_DATA, seed=1, features=None, in_folds=False)
    assert "encoder: it needs 7600 Hz or more, the dataset has 7000" in plain.left_out


@pytest.mark.slow
def test_folds_hold_out_every_clip_once_and_never_a_test_clip(tones: Dataset) -> None:
    assert needs_folds(tones)
    contest = hold_contest(tones, NO_AUXILIARY_DATA, seed=1)
    assert contest.logits is not None
    outside_test = np.flatnonzero((tones.clips["split"] != "test").to_numpy())
    assert sorted(contest.logits.rows) == outside_test.tolist()
    assert [row.model for row in contest.rows] == sorted(
        (row.model for row in contest.rows), key=lambda name: -_accuracy(contest, name)
    )


def _accuracy(contest: Contest, model: str) -> float:
    return next(row.accuracy for row in contest.rows if row.model == model)


def test_a_validation_part_of_its_own_is_used(tones: Dataset) -> None:
    large = tones.clips.assign(split=["val" if i % 2 else "train" for i in range(len(tones.clips))])
    dataset = replace(tones, clips=large)
    assert not needs_folds(dataset)
    contest = hold_contest(dataset, NO_AUXILIARY_DATA, seed=1)
    assert contest.logits is None
    assert contest.clips == len(dataset.rows("val"))


@pytest.mark.slow
def test_the_winner_is_fitted_to_all_clips_and_measured_on_folds(
    tones: Dataset, tmp_path: Path
) -> None:
    result = earful.train(tones.folder, tmp_path / "run")
    assert result.contest is not None
    assert result.config.model == result.contest.winner.model
    validation = result.metrics["validation"]
    assert validation["clips"] == result.contest.clips
    assert validation["accuracy"] == pytest.approx(result.contest.winner.accuracy)
    checkpoint = load_checkpoint(tmp_path / "run" / BEST_CHECKPOINT)
    assert checkpoint.dataset_hash == tones.content_hash  # as registering and reports compare it
    contest = json.loads((tmp_path / "run" / "contest.json").read_text())
    assert [row["model"] for row in contest["rows"]] == [r.model for r in result.contest.rows]
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    again = earful.train(tones.folder, tmp_path / "run", resume=True)
    assert again.config == result.config
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    assert earful.export(tmp_path / "run", tmp_path / "model.onnx").finished


def test_a_label_with_one_clip_is_named(tones: Dataset) -> None:
    counts = Counter(tones.clips["label"])
    label = min(counts)
    first = tones.clips.index[tones.clips["label"] == label][0]
    splits = ["test" if row.label == label else "train" for row in tones.clips.itertuples()]
    clips = tones.clips.assign(split=splits)
    clips.loc[first, "split"] = "train"
    with pytest.raises(TrainingError, match=f"label '{label}' has a single clip outside the test"):
        hold_contest(replace(tones, clips=clips), NO_AUXILIARY_DATA, seed=1)


def test_the_p_value_is_that_of_the_paired_test() -> None:
    one = np.array([True] * 12 + [False] * 3 + [True] * 20)
    other = np.array([False] * 12 + [True] * 3 + [True] * 20)
    assert _lead_p_value(one, other) == pytest.approx(0.017578125)  # 12 against 3
    assert _lead_p_value(one, one) == _lead_p_value(one) == 1.0


@pytest.mark.slow
def test_the_contest_is_kept_with_the_first_epoch(
    tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted run still says why its network was chosen."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_run_module, "write_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        earful.train(tones.folder, tmp_path / "run")
    assert (tmp_path / "run" / "contest.json").is_file()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"in_folds": "yes"}', "in_folds must be true or false"),
        ("{}", "in_folds is missing"),
        ("junk", "not JSON"),
    ],
)
def test_a_damaged_contest_is_told(tmp_path: Path, content: str, problem: str) -> None:
    assert not was_in_folds(tmp_path)
    (tmp_path / "contest.json").write_text(content)
    with pytest.raises(TrainingError, match=problem):
        was_in_folds(tmp_path)


def test_the_reason_names_the_lead_and_when_it_may_be_chance() -> None:
    def reason(*correct: int, p_value: float = 0.01) -> str:
        rows = tuple(
            ContestRow(f"net{n}", value / 100, (0.0, 1.0), 1.0) for n, value in enumerate(correct)
        )
        return Contest(rows, 100, "100 clips", (), p_value).reason()

    assert reason(90, 60) == "net0 is best: it predicts 30 clips more correctly than net1"
    unsure = reason(61, 60, p_value=0.4)
    assert unsure.endswith("1 clip more correctly than net1; the difference may be chance")
    assert reason(60, 60) == "net0 is as good as net1 on these clips and the cheaper one"
    assert reason(60) == "net0 is the only network that fits this data"


@pytest.mark.parametrize("n_recordings", [15, 3])
def test_windows_of_a_recording_are_held_out_together(tones: Dataset, n_recordings: int) -> None:
    """Also of three recordings of each label, fewer than the usual folds."""
    numbers = np.arange(60) % n_recordings
    recordings = [f"{label} {n}" for label, n in zip(tones.clips["label"], numbers, strict=True)]
    clips = tones.clips.assign(sha256=recordings, speaker="", split="train")
    for view in _folds(replace(tones, clips=clips)):
        used = view.clips[view.clips["split"].isin(("train", "val"))]
        assert (used.groupby("sha256")["split"].nunique() == 1).all()
        assert set(used["split"]) == {"train", "val"}
