"""Search space, held-out validation speakers, resuming, pruning, failures, and the command."""

import contextlib
import csv
import json
import os
import signal
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
from earful.data.errors import EarfulError, MissingPackageError
from earful.models.networks.zoo import FITTED_NETWORKS
from earful.service.core.failures import describe_failure
from earful.training.cli import build_app
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import MAX_SEED, TrainConfig, TrainingError, default_config
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochRecord,
    load_checkpoint,
)
from earful.training.tuning.findings import collect_results, train_command
from earful.training.tuning.sampler import trial_seed
from earful.training.tuning.search import SearchConfig, best_trial, run_search, trial_folder
from earful.training.tuning.space import (
    Choices,
    NumericRange,
    TuneError,
    build_space,
    default_space,
)
from earful.training.tuning.speaker_split import hold_out_speakers
from earful.training.tuning.study import (
    DEFAULT_STUDY_NAME,
    STUDY_FILENAME,
    fail_stale,
    finished_trials,
    open_study,
    running_trials,
    trial_lock,
)
from tests.fixtures.chords import Chords
from tests.fixtures.forked import FORKED, exit_code_of

QUICK = replace(default_config("cnn"), epochs=1, features="log_mel")


def make_search(dataset: Dataset, out: Path, *search: str, epochs: int = 1) -> SearchConfig:
    space, base = build_space(replace(QUICK, epochs=epochs), search, ["optimizer=adam"])
    return SearchConfig(
        hold_out_speakers(dataset)[0], out, base, space, pruner="none", device="cpu"
    )


# --- the space ---


def test_given_settings_replace_the_defaults() -> None:
    search = ["learning_rate=1e-3:1e-1:log", "dropout=0.1,0.4", "mixup=0:0.5", "batch-size=8:64"]
    space, base = build_space(QUICK, search, ["optimizer=adamw", "patience=3"])
    assert space.dimensions["learning_rate"] == NumericRange(1e-3, 1e-1, log=True)
    assert space.dimensions["dropout"] == Choices((0.1, 0.4))
    assert space.dimensions["batch_size"] == NumericRange(8, 64, is_integer=True)
    assert "optimizer" not in space.dimensions
    assert (base.optimizer, base.patience) == ("adamw", 3)
    assert set(space.dimensions) == set(default_space("cnn").dimensions) - {"optimizer"} | {"mixup"}


@pytest.mark.parametrize("model", ["cnn", "crnn", "bcresnet", "tcresnet"])
def test_every_default_space_can_be_trained_with(model: str) -> None:
    """The ends of every range, and random draws."""
    space, base = build_space(default_config(model), [], [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        config = apply_overrides(base, space.suggest(study.ask()))
        assert 1e-4 <= config.learning_rate <= 1e-2
        assert {"dropout"} <= set(config.options)


@pytest.mark.parametrize(
    ("search", "settings", "message"),
    [
        (
            ["droput=0:1"],
            [],
            r"'droput' \(did you mean 'dropout'\?\); there are .*dropout.*learning_rate",
        ),
        (["channels=1:2"], [], "no setting is called 'channels'"),
        (["dropout"], [], "NAME=LOW:HIGH"),
        (["dropout=0:1:lag"], [], "LOW:HIGH:log"),
        (["dropout=1:0"], [], "finite LOW <= HIGH"),
        (["dropout=nan:1"], [], "finite LOW <= HIGH"),
        (["learning_rate=0:1:log"], [], "LOW above 0 for log"),
        (["optimizer=adam:sgd"], [], "a,b,c"),
        (["optimizer=adam,adan"], [], "sgd or momentum"),
        (["batch_size=1.5:2"], [], "a whole number"),
        (["batch_size=0:8"], [], "above 0"),
        (["dropout=0,1", "dropout=0:1"], [], "twice"),
        (["dropout=0,1"], ["dropout=0"], "both searched and set"),
        ([], ["epochs=3"], "--epochs"),
        ([], ["augment=perhaps"], "true or false"),
        (["width=1:2"], [], "no setting is called 'width'"),
    ],
)
def test_invalid_search_space_is_refused(
    search: list[str], settings: list[str], message: str
) -> None:
    with pytest.raises(EarfulError, match=message):
        build_space(QUICK, search, settings)


def test_option_the_network_refuses_fails_before_the_first_trial() -> None:
    with pytest.raises(EarfulError, match="bcresnet width must be from"):
        build_space(default_config("bcresnet"), ["width=0.1:1"], [])


# --- validation speakers ---


def test_validation_speakers_are_held_out_and_test_clips_are_never_used(tones: Dataset) -> None:
    view, note = hold_out_speakers(tones)
    speakers = view.clips.groupby("split")["speaker"].agg(set)
    assert speakers["val"]
    assert speakers["val"].isdisjoint(speakers["train"])
    assert len(view.rows("test")) == 0
    test = tones.rows("test")
    assert not set(view.clips["split"].iloc[test]) & {"train", "val"}
    assert len(view.rows("train")) + len(view.rows("val")) + len(test) == len(tones.clips)
    assert view.content_hash != tones.content_hash
    assert "held-out speakers" in note


def test_existing_validation_speakers_are_kept(tones: Dataset) -> None:
    split = np.where(tones.clips["speaker"] == "speaker2", "val", "train")
    view, note = hold_out_speakers(replace(tones, clips=tones.clips.assign(split=split)))
    assert view.clips["split"].tolist() == split.tolist()
    assert "speaker2 of the dataset's validation split" in note


@pytest.mark.parametrize(
    ("speaker", "reason"), [("", "names no speakers"), ("ann", "of speaker 'ann'")]
)
def test_without_spare_speakers_the_validation_split_is_used(
    tones: Dataset, speaker: str, reason: str
) -> None:
    view, note = hold_out_speakers(replace(tones, clips=tones.clips.assign(speaker=speaker)))
    assert view.rows("val").tolist() == tones.rows("val").tolist()
    assert len(view.rows("test")) == 0
    assert reason in note


def test_labels_of_a_single_speaker_keep_the_validation_split(
    tones: Dataset,
) -> None:
    view, note = hold_out_speakers(
        replace(tones, clips=tones.clips.assign(speaker=tones.clips.label))
    )
    assert view.rows("val").tolist() == tones.rows("val").tolist()
    assert "no speakers can be held out" in note


# --- the search ---


@pytest.mark.slow
def test_resumed_search_equals_an_uninterrupted_one(tones: Dataset, tmp_path: Path) -> None:
    whole = run_search(make_search(tones, tmp_path / "whole"), 3)
    run_search(make_search(tones, tmp_path / "cut"), 1)
    cut = run_search(make_search(tones, tmp_path / "cut"), 3)
    assert [(t.params, t.value) for t in cut.trials] == [(t.params, t.value) for t in whole.trials]
    assert len({trial.params["learning_rate"] for trial in whole.trials}) == 3


def test_every_valid_seed_works_for_a_search(tones: Dataset, tmp_path: Path) -> None:
    search = make_search(tones, tmp_path)
    study = run_search(replace(search, base=replace(search.base, seed=MAX_SEED)), 1)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    seeds = {trial_seed(seed, n) for seed in (0, 42_949, 42_950, MAX_SEED) for n in range(1000)}
    assert len(seeds) == 4000
    assert 0 <= min(seeds) <= max(seeds) < 2**32


def test_trial_is_claimed_before_anything_else(tones: Dataset, tmp_path: Path) -> None:
    """A process that dies right after the start leaves a trial that is recognised as stale."""
    search = make_search(tones, tmp_path)
    leftover = trial_folder(tmp_path, 0) / LAST_CHECKPOINT
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"of another study")
    seen: list[tuple[list[int], bool]] = []

    def on_trial_start(
        index: int, wanted: int
    ) -> contextlib.AbstractContextManager[TrainingProgress]:
        study = open_study(
            tmp_path / STUDY_FILENAME,
            DEFAULT_STUDY_NAME,
            search.study_setting(),
            minimize_loss=False,
        )
        marked = [trial.number for trial in running_trials(study) if "host" in trial.user_attrs]
        seen.append((marked, leftover.exists()))
        return contextlib.nullcontext(TrainingProgress())

    run_search(replace(search, on_trial=on_trial_start), 1)
    assert seen == [([0], True)]


@pytest.mark.slow
def test_only_the_checkpoint_of_the_best_trial_is_kept(tones: Dataset, tmp_path: Path) -> None:
    search = make_search(tones, tmp_path, epochs=2)
    study = run_search(search, 3)
    best = best_trial(study)
    assert best is not None
    assert best.value == max(trial.value or 0 for trial in study.trials)
    assert [folder.name for folder in (tmp_path / "trials").iterdir()] == [f"{best.number:03d}"]
    checkpoint = load_checkpoint(trial_folder(tmp_path, best.number) / BEST_CHECKPOINT)
    assert checkpoint.best.val_accuracy == best.value
    found = collect_results(search, study, "", tmp_path)
    assert found.config == checkpoint.config


@pytest.mark.slow
def test_diverging_trial_is_recorded_and_the_search_continues(
    tones: Dataset, tmp_path: Path
) -> None:
    study = run_search(make_search(tones, tmp_path, "learning_rate=1e-3,1e30"), 4)
    failed = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert {trial.params["learning_rate"] for trial in failed} == {1e30}
    assert all("training diverges" in trial.user_attrs["reason"] for trial in failed)
    assert best_trial(study) is not None


def test_search_with_failed_trials_only_reports_the_reason(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="all 2 trials failed; the last: the loss is nan"):
        run_search(make_search(tones, tmp_path, "learning_rate=1e30,1e31"), 2)


@pytest.mark.slow
def test_trial_worse_than_the_median_is_stopped_early(tones: Dataset, tmp_path: Path) -> None:
    search = replace(make_search(tones, tmp_path, epochs=9), pruner="median")
    study = open_study(
        tmp_path / STUDY_FILENAME, DEFAULT_STUDY_NAME, search.study_setting(), minimize_loss=False
    )
    perfect = dict.fromkeys(range(1, 10), 1.1)
    attributes = {"val_loss": 0.0, "epochs": 9, "seconds": 1.0}
    for _ in range(5):
        study.add_trial(create_trial(value=1.1, intermediate_values=perfect, user_attrs=attributes))
    last = run_search(search, 6).trials[-1]
    assert last.state == TrialState.PRUNED
    assert last.user_attrs["epochs"] == 4  # the first after the warm-up
    assert last.user_attrs["reason"] == "pruned after epoch 4"
    assert not trial_folder(tmp_path, last.number).exists()


def test_trials_with_other_settings_are_refused(tones: Dataset, tmp_path: Path) -> None:
    run_search(make_search(tones, tmp_path), 1)
    with pytest.raises(TuneError, match="fixed epochs 1 -> 2"):
        run_search(make_search(tones, tmp_path, epochs=2), 2)
    with pytest.raises(TuneError, match=r"space dropout 0:0\.5 -> 0:0\.1"):
        run_search(make_search(tones, tmp_path, "dropout=0:0.1"), 2)
    other = replace(make_search(tones, tmp_path), name="other", objective="loss")
    assert len(run_search(other, 1).trials) == 1


def test_interrupted_trial_is_repeated(tones: Dataset, tmp_path: Path) -> None:
    def stop(record: EpochRecord) -> None:
        raise KeyboardInterrupt

    search = make_search(tones, tmp_path)
    stopping = TrainingProgress(on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        run_search(replace(search, on_trial=lambda n, wanted: contextlib.nullcontext(stopping)), 2)
    study = run_search(search, 2)
    expected = [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert [trial.state for trial in study.trials] == expected


def die_in_a_trial(storage: Path, folder: Path) -> None:
    study = open_study(storage, DEFAULT_STUDY_NAME, {}, minimize_loss=False)
    with trial_lock(study.ask(), folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_driver_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError, match=r"needs psycopg; .*--extra postgres"):
        open_study("postgresql+psycopg://u:p@127.0.0.1:1/x", "study", {}, minimize_loss=False)


def test_killed_trial_is_recovered_and_a_running_one_is_not(
    tmp_path: Path,
) -> None:
    storage = tmp_path / STUDY_FILENAME
    process = FORKED.Process(target=die_in_a_trial, args=(storage, tmp_path / "0"))
    process.start()
    assert exit_code_of(process) == -signal.SIGKILL
    study = open_study(storage, DEFAULT_STUDY_NAME, {}, minimize_loss=False)
    with trial_lock(study.ask(), tmp_path / "1"):
        assert fail_stale(study) == [0]
        assert fail_stale(study) == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert finished_trials(study) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database URL of the study is invalid"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"me:\*\*\*@127.0.0.1:1/x cannot be used"),
        ("sqlite:////proc/no/study.db", "cannot be used: unable to open"),
    ],
)
def test_unusable_database_is_named_without_its_password(url: str, message: str) -> None:
    with pytest.raises(TuneError, match=message) as caught:
        open_study(url, DEFAULT_STUDY_NAME, {}, minimize_loss=False)
    assert "secret" not in str(caught.value)


# --- the command ---


RunTune = Callable[..., Result]


@pytest.fixture
def tune(tones: Dataset, tmp_path: Path) -> RunTune:
    def run(*arguments: str) -> Result:
        command = ["tune", str(tones.folder), "--out", str(tmp_path / "t"), *arguments]
        return CliRunner().invoke(build_app(), command)

    return run


@pytest.mark.slow
def test_tune_command_writes_tables_plot_and_a_train_command(tune: RunTune, tmp_path: Path) -> None:
    done = tune(
        "--trials", "4", "--epochs", "1", "--json", "--search", "dropout=0,0.3", "--retrain"
    )
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
    again = tune("--trials", "4", "--epochs", "1", "--search", "dropout=0,0.3")
    assert "4 trials: " in again.stdout
    assert "trial 3" not in again.stderr


def test_suggested_train_command_holds_every_non_default_setting() -> None:
    config = replace(
        default_config("crnn"),
        learning_rate=2.5e-3,
        augment=True,
        seed=7,
        options={"recurrent": "lstm", "dropout": 0.1},
    )
    assert train_command(config, Path("my data"), Path("run")) == (
        "earful train 'my data' --out run --model crnn --seed 7 --augment --learning-rate 0.0025 "
        "--set recurrent=lstm --set dropout=0.1"
    )


def test_network_without_labels_and_missing_device_are_refused(
    tune: RunTune, tones: Dataset, tmp_path: Path
) -> None:
    assert "is not a classifier" in str(tune("--model", "autoencoder").exception)
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="--device cuda was given"):
            run_search(replace(make_search(tones, tmp_path), device="cuda"), 1)
    assert not (tmp_path / STUDY_FILENAME).exists()


@pytest.mark.slow
def test_the_penalty_of_the_frozen_encoder_is_searched(tune: RunTune, tmp_path: Path) -> None:
    assert tune("--model", "encoder", "--trials", "2").exit_code == 0
    best = json.loads((tmp_path / "t" / "best.json").read_text())
    assert 1e-4 <= best["config"]["options"]["c"] <= 1.0


@pytest.mark.parametrize("model", [name for name in FITTED_NETWORKS if name != "encoder"])
def test_fitted_baseline_is_refused_before_anything_else(
    tune: RunTune, tmp_path: Path, model: str
) -> None:
    message = rf"{model} is a baseline that is fitted in one go.* one of cnn, crnn, .*mlp$"
    with pytest.raises(TuneError, match=message):
        raise tune("--model", model).exception or AssertionError
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_multi_label_data_is_trained_with_bce_by_default(chords: Chords, tmp_path: Path) -> None:
    def tune(out: str, *options: str) -> Result:
        command = ["tune", str(chords.dataset), "--out", str(tmp_path / out), *options]
        return CliRunner().invoke(build_app(), [*command, "--trials", "1", "--epochs", "1"])

    done = tune("t", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["config"]["loss"] == "bce"
    assert load_checkpoint(trial_folder(tmp_path / "t", 0) / BEST_CHECKPOINT).config.loss == "bce"
    assert "which focal cannot learn" in str(tune("other", "--set", "loss=focal").exception)


def test_without_optuna_the_install_command_is_named(
    tune: RunTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("earful.training.tuning.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    error = tune("--trials", "1").exception
    assert isinstance(error, Exception)
    assert "a search needs optuna; install it with: uv sync --inexact --extra tune" in (
        describe_failure(error)
    )
