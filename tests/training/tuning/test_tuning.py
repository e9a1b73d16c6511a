"""A search draws within its space, judges by voices apart, and survives what happens to it."""

import contextlib
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner, Result

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.networks.zoo import FITTED_NETWORKS
from earful.training.cli import build_app
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import MAX_SEED, TrainConfig, TrainingError, default_config
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, EpochRecord, load_checkpoint
from earful.training.tuning.findings import gather, train_command
from earful.training.tuning.sampler import seed_of
from earful.training.tuning.search import Search, best_trial, folder_of, search
from earful.training.tuning.space import Choices, Range, TuneError, chosen_space, default_space
from earful.training.tuning.speaker_split import voices_apart
from earful.training.tuning.study import (
    FILE,
    NAME,
    at_work,
    fail_stale,
    finished,
    open_study,
    running,
)
from tests.fixtures.chords import Chords

QUICK = replace(default_config("cnn"), epochs=1, features="log_mel")


def make_search(dataset: Dataset, out: Path, *vary: str, epochs: int = 1) -> Search:
    space, base = chosen_space(replace(QUICK, epochs=epochs), vary, ["optimizer=adam"])
    return Search(voices_apart(dataset)[0], out, base, space, pruner="none", device="cpu")


# --- the space ---


def test_given_settings_replace_the_defaults() -> None:
    vary = ["learning_rate=1e-3:1e-1:log", "dropout=0.1,0.4", "mixup=0:0.5", "batch-size=8:64"]
    space, base = chosen_space(QUICK, vary, ["optimizer=adamw", "patience=3"])
    assert space.varied["learning_rate"] == Range(1e-3, 1e-1, log=True)
    assert space.varied["dropout"] == Choices((0.1, 0.4))
    assert space.varied["batch_size"] == Range(8, 64, whole=True)
    assert "optimizer" not in space.varied
    assert (base.optimizer, base.patience) == ("adamw", 3)
    assert set(space.varied) == set(default_space("cnn").varied) - {"optimizer"} | {"mixup"}


@pytest.mark.parametrize("model", ["cnn", "crnn", "bcresnet", "tcresnet"])
def test_every_default_space_can_be_trained_with(model: str) -> None:
    """Both ends of every range, and random draws."""
    space, base = chosen_space(default_config(model), [], [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        config = apply_overrides(base, space.draw(study.ask()))
        assert 1e-4 <= config.learning_rate <= 1e-2
        assert {"dropout"} <= set(config.options)


@pytest.mark.parametrize(
    ("vary", "fix", "words"),
    [
        (["droput=0:1"], [], r"no setting is called 'droput'; there are .*dropout.*learning_rate"),
        (["channels=1:2"], [], "no setting is called 'channels'"),
        (["dropout"], [], "NAME=LOW:HIGH"),
        (["dropout=0:1:lag"], [], "LOW:HIGH:log"),
        (["dropout=1:0"], [], "low end and a high end"),
        (["dropout=nan:1"], [], "low end and a high end"),
        (["learning_rate=0:1:log"], [], "no logarithm at 0"),
        (["optimizer=adam:sgd"], [], "a,b,c"),
        (["optimizer=adam,adan"], [], "sgd or momentum"),
        (["batch_size=1.5:2"], [], "a whole number"),
        (["batch_size=0:8"], [], "above 0"),
        (["dropout=0,1", "dropout=0:1"], [], "twice"),
        (["dropout=0,1"], ["dropout=0"], "both varied and fixed"),
        ([], ["epochs=3"], "--epochs"),
        ([], ["augment=perhaps"], "true or false"),
        (["width=1:2"], [], "no setting is called 'width'"),
    ],
)
def test_invalid_search_space_is_refused(
    vary: list[str], fix: list[str], words: str
) -> None:
    with pytest.raises(EarfulError, match=words):
        chosen_space(QUICK, vary, fix)


def test_option_the_network_refuses_fails_before_the_first_trial() -> None:
    with pytest.raises(EarfulError, match="bcresnet's width is from"):
        chosen_space(default_config("bcresnet"), ["width=0.1:1"], [])


# --- whom it is judged by ---


def test_validation_speakers_are_held_out_and_test_clips_are_never_used(tones: Dataset) -> None:
    view, note = voices_apart(tones)
    part = view.clips.groupby("split")["speaker"].agg(set)
    assert part["val"]
    assert part["val"].isdisjoint(part["train"])
    assert len(view.rows("test")) == 0
    test = tones.rows("test")
    assert not set(view.clips["split"].iloc[test]) & {"train", "val"}
    assert len(view.rows("train")) + len(view.rows("val")) + len(test) == len(tones.clips)
    assert view.content_hash != tones.content_hash
    assert "who are not trained on" in note


def test_existing_validation_speakers_are_kept(tones: Dataset) -> None:
    split = np.where(tones.clips["speaker"] == "speaker2", "val", "train")
    view, note = voices_apart(replace(tones, clips=tones.clips.assign(split=split)))
    assert view.clips["split"].tolist() == split.tolist()
    assert "speaker2 of the dataset's validation part" in note


@pytest.mark.parametrize(("speaker", "words"), [("", "names no speaker"), ("ann", "of 'ann'")])
def test_without_spare_speakers_the_validation_split_is_used(
    tones: Dataset, speaker: str, words: str
) -> None:
    view, note = voices_apart(replace(tones, clips=tones.clips.assign(speaker=speaker)))
    assert view.rows("val").tolist() == tones.rows("val").tolist()
    assert len(view.rows("test")) == 0
    assert words in note


def test_labels_of_a_single_speaker_keep_the_validation_split(
    tones: Dataset,
) -> None:
    view, note = voices_apart(replace(tones, clips=tones.clips.assign(speaker=tones.clips.label)))
    assert view.rows("val").tolist() == tones.rows("val").tolist()
    assert "no speakers can be kept apart" in note


# --- the search ---


def test_resumed_search_equals_an_uninterrupted_one(
    tones: Dataset, tmp_path: Path
) -> None:
    whole = search(make_search(tones, tmp_path / "whole"), 3)
    search(make_search(tones, tmp_path / "cut"), 1)
    cut = search(make_search(tones, tmp_path / "cut"), 3)
    assert [(t.params, t.value) for t in cut.trials] == [(t.params, t.value) for t in whole.trials]
    assert len({trial.params["learning_rate"] for trial in whole.trials}) == 3


def test_every_seed_that_a_run_can_have_can_be_searched_with(
    tones: Dataset, tmp_path: Path
) -> None:
    planned = make_search(tones, tmp_path)
    study = search(replace(planned, base=replace(planned.base, seed=MAX_SEED)), 1)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    seeds = {seed_of(seed, n) for seed in (0, 42_949, 42_950, MAX_SEED) for n in range(1000)}
    assert len(seeds) == 4000
    assert 0 <= min(seeds) <= max(seeds) < 2**32


def test_trial_is_claimed_before_anything_else(
    tones: Dataset, tmp_path: Path
) -> None:
    """What ends the process a moment later leaves a trial that the next one finds at once."""
    planned = make_search(tones, tmp_path)
    left = folder_of(tmp_path, 0) / LAST_CHECKPOINT
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of another study")
    seen: list[tuple[list[int], bool]] = []

    def on_trial_start(nth: int, wanted: int) -> contextlib.AbstractContextManager[TrainingProgress]:
        study = open_study(tmp_path / FILE, NAME, planned.setting(), loss=False)
        marked = [trial.number for trial in running(study) if "host" in trial.user_attrs]
        seen.append((marked, left.exists()))
        return contextlib.nullcontext(TrainingProgress())

    search(replace(planned, on_trial=on_trial_start), 1)
    assert seen == [([0], True)]


def test_only_the_checkpoint_of_the_best_trial_is_kept(
    tones: Dataset, tmp_path: Path
) -> None:
    planned = make_search(tones, tmp_path, epochs=2)
    study = search(planned, 3)
    best = best_trial(study)
    assert best is not None
    assert best.value == max(trial.value or 0 for trial in study.trials)
    assert [folder.name for folder in (tmp_path / "trials").iterdir()] == [f"{best.number:03d}"]
    checkpoint = load_checkpoint(folder_of(tmp_path, best.number) / BEST_CHECKPOINT)
    assert checkpoint.best.val_accuracy == best.value
    found = gather(planned, study, "", tmp_path)
    assert found.config == checkpoint.config


def test_a_trial_that_diverges_is_recorded_and_the_search_goes_on(
    tones: Dataset, tmp_path: Path
) -> None:
    study = search(make_search(tones, tmp_path, "learning_rate=1e-3,1e30"), 4)
    failed = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert {trial.params["learning_rate"] for trial in failed} == {1e30}
    assert all("training diverges" in trial.user_attrs["reason"] for trial in failed)
    assert best_trial(study) is not None


def test_a_search_in_which_all_fails_says_why(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="all of 2 trials failed; the last: the loss is nan"):
        search(make_search(tones, tmp_path, "learning_rate=1e30,1e31"), 2)


def test_trial_worse_than_the_median_is_stopped_early(tones: Dataset, tmp_path: Path) -> None:
    planned = replace(make_search(tones, tmp_path, epochs=9), pruner="median")
    study = open_study(tmp_path / FILE, NAME, planned.setting(), loss=False)
    perfect = dict.fromkeys(range(1, 10), 1.1)
    attributes = {"val_loss": 0.0, "epochs": 9, "seconds": 1.0}
    for _ in range(5):
        study.add_trial(create_trial(value=1.1, intermediate_values=perfect, user_attrs=attributes))
    last = search(planned, 6).trials[-1]
    assert last.state == TrialState.PRUNED
    assert last.user_attrs["epochs"] == 4  # the first after the warm-up
    assert last.user_attrs["reason"] == "pruned after epoch 4"
    assert not folder_of(tmp_path, last.number).exists()


def test_trials_of_another_setting_are_not_mixed_in(tones: Dataset, tmp_path: Path) -> None:
    search(make_search(tones, tmp_path), 1)
    with pytest.raises(TuneError, match="fixed epochs 1 -> 2"):
        search(make_search(tones, tmp_path, epochs=2), 2)
    with pytest.raises(TuneError, match=r"space dropout 0:0\.5 -> 0:0\.1"):
        search(make_search(tones, tmp_path, "dropout=0:0.1"), 2)
    other = replace(make_search(tones, tmp_path), name="other", objective="loss")
    assert len(search(other, 1).trials) == 1


def test_an_interrupted_trial_is_made_again(tones: Dataset, tmp_path: Path) -> None:
    def stop(record: EpochRecord) -> None:
        raise KeyboardInterrupt

    planned = make_search(tones, tmp_path)
    stopping = TrainingProgress(on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        search(replace(planned, on_trial=lambda n, wanted: contextlib.nullcontext(stopping)), 2)
    study = search(planned, 2)
    assert [t.state for t in study.trials] == [
        TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE,
    ]  # fmt: skip


KILLED = """
import os, signal, sys
from pathlib import Path
from earful.training.tuning.study import at_work, open_study
study = open_study(Path(sys.argv[1]), "earful", {}, loss=False)
with at_work(study.ask(), Path(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_trial_is_recovered_and_a_running_one_is_not(
    tmp_path: Path,
) -> None:
    place = tmp_path / FILE
    done = subprocess.run(
        [sys.executable, "-c", KILLED, place, tmp_path / "0"], check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode < 0
    study = open_study(place, NAME, {}, loss=False)
    with at_work(study.ask(), tmp_path / "1"):
        assert fail_stale(study) == [0]
        assert fail_stale(study) == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert finished(study) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "the URL of the study cannot be read"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"me:\*\*\*@127.0.0.1:1/x cannot be used"),
        ("sqlite:////proc/no/study.db", "cannot be used: unable to open"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(TuneError, match=words) as caught:
        open_study(url, NAME, {}, loss=False)
    assert "secret" not in str(caught.value)


# --- the command ---


RunTune = Callable[..., Result]


@pytest.fixture
def tune(tones: Dataset, tmp_path: Path) -> RunTune:
    def run(*arguments: str) -> Result:
        words = ["tune", str(tones.folder), "--out", str(tmp_path / "t"), *arguments]
        return CliRunner().invoke(build_app(), words)

    return run


def test_tune_command_writes_tables_plot_and_a_train_command(tune: RunTune, tmp_path: Path) -> None:
    done = tune("--trials", "4", "--epochs", "1", "--json", "--vary", "dropout=0,0.3", "--retrain")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    out = tmp_path / "t"
    assert printed == json.loads((out / "best.json").read_text())
    with (out / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(printed["trials"].values()) == 4
    best = max(rows, key=lambda row: (float(row["value"] or -1), -float(row["val_loss"])))
    assert int(best["number"]) == printed["best"]["number"]
    assert float(best["learning_rate"]) == printed["config"]["learning_rate"]
    assert (out / "tune.png").read_bytes().startswith(b"\x89PNG")
    assert "4 of 4: trial 3" in done.stderr
    assert load_checkpoint(out / "run" / BEST_CHECKPOINT).config == TrainConfig(**printed["config"])
    again = tune("--trials", "4", "--epochs", "1", "--vary", "dropout=0,0.3")
    assert "4 trials: " in again.stdout
    assert "trial 3" not in again.stderr


def test_suggested_train_command_holds_every_non_default_setting() -> None:
    config = replace(
        default_config("crnn"), learning_rate=2.5e-3, augment=True, seed=7,
        options={"recurrent": "lstm", "dropout": 0.1},
    )  # fmt: skip
    assert train_command(config, Path("my data"), Path("run")) == (
        "earful train 'my data' --out run --model crnn --learning-rate 0.0025 --seed 7 --augment "
        "--option recurrent=lstm --option dropout=0.1"
    )


def test_network_without_labels_and_missing_device_are_refused(
    tune: RunTune, tones: Dataset, tmp_path: Path
) -> None:
    assert "names no labels" in str(tune("--model", "autoencoder").exception)
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="CUDA was asked for"):
            search(replace(make_search(tones, tmp_path), device="cuda"), 1)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("model", FITTED_NETWORKS)
def test_a_fitted_baseline_is_refused_before_anything_else(
    tune: RunTune, tmp_path: Path, model: str
) -> None:
    words = rf"{model} is a baseline that is fitted in one go.* one of cnn, crnn, .*mlp$"
    with pytest.raises(TuneError, match=words):
        raise tune("--model", model).exception or AssertionError
    assert not (tmp_path / "t").exists()


def test_multi_label_data_is_trained_with_bce_by_default(
    chords: Chords, tmp_path: Path
) -> None:
    def tune(out: str, *words: str) -> Result:
        arguments = ["tune", str(chords.dataset), "--out", str(tmp_path / out), *words]
        return CliRunner().invoke(build_app(), [*arguments, "--trials", "1", "--epochs", "1"])

    done = tune("t", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["config"]["loss"] == "bce"
    assert load_checkpoint(folder_of(tmp_path / "t", 0) / BEST_CHECKPOINT).config.loss == "bce"
    assert "which focal cannot learn" in str(tune("other", "--fix", "loss=focal").exception)


def test_without_optuna_the_install_command_is_named(
    tune: RunTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("earful.training.tuning.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "uv sync --inexact --extra train --extra tune" in str(tune("--trials", "1").exception)
