"""Hyperparameter search: every trial is a training run; unpromising trials are pruned.

The objective of a trial is taken at the epoch of its lowest validation loss, the one that would be
released. Trial ``n`` depends only on (seed, n) and the earlier trials, so a resumed search equals
an uninterrupted one.
"""

import contextlib
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from earful.data.atomic_write import OutputError
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import zoo_entry
from earful.training.baselines.fit import fit_baseline
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, EpochRecord
from earful.training.trainer.devices import choose_device
from earful.training.trainer.trainer import fit
from earful.training.tuning.sampler import PerTrialTPESampler
from earful.training.tuning.space import SearchSpace, TuneError
from earful.training.tuning.study import (
    DEFAULT_STUDY_NAME,
    EPOCHS_KEY,
    INTERRUPTED,
    REASON_KEY,
    SECONDS_KEY,
    STUDY_FILENAME,
    VAL_LOSS_KEY,
    fail_stale,
    finished_trials,
    open_study,
    record_failure,
    record_heartbeat,
    running_trials,
    translate_errors,
    trial_lock,
)

TuneObjective = Literal["accuracy", "loss"]
Pruner = Literal["median", "hyperband", "none"]
# In the folder of a search: one run per trial, and the run of the best settings on all data.
TRIALS_FOLDER, BEST_RUN_FOLDER = "trials", "run"
# Trials before the median pruner starts.
_STARTUP_TRIALS = 5
# No pruning in the first epochs: at least this many, and this share of all epochs.
_MIN_WARM_UP_EPOCHS, _WARM_UP_SHARE = 3, 0.1


@dataclass(frozen=True)
class SearchConfig:
    """Configuration of a search.

    dataset      as returned by ``hold_out_speakers``
    base         settings shared by all trials
    objective    validation accuracy or loss at the epoch of the lowest validation loss
    study        database URL; None: an SQLite file in ``out``
    on_trial     called with (trial index from 1, trials wanted); its progress gets the epochs
    on_finished  called with (trial, finished trials, trials wanted)
    on_stale     called with the numbers of trials whose process has died
    """

    dataset: Dataset
    out: Path
    base: TrainConfig
    space: SearchSpace
    objective: TuneObjective = "accuracy"
    pruner: Pruner = "median"
    study: str | None = None
    name: str = DEFAULT_STUDY_NAME
    device: TrainingDevice = "auto"
    on_trial: Callable[[int, int], AbstractContextManager[TrainingProgress]] = field(
        default=lambda number, wanted: contextlib.nullcontext(TrainingProgress())
    )
    on_finished: Callable[[FrozenTrial, int, int], None] = lambda trial, done, wanted: None
    on_stale: Callable[[list[int]], None] = lambda numbers: None

    def study_setting(self) -> dict[str, Any]:
        """What trials of a study share; trials with a different value are not comparable."""
        return {
            "data": self.dataset.content_hash,
            "objective": self.objective,
            "pruner": self.pruner,
            "fixed": {name: str(v) for name, v in self.base.to_dict().items()},
            "space": self.space.to_dict(),
        }


class _TrialPruned(Exception):  # noqa: N818 - control flow, not an error
    """The pruner stops the trial."""


@dataclass
class _TrialMonitor:
    """Reports the epochs of a trial to the study and stops the trial when it is pruned."""

    trial: Trial
    objective: TuneObjective
    progress: TrainingProgress
    max_epochs: int
    best: EpochRecord | None = None
    epochs: int = 0

    def on_epoch(self, record: EpochRecord) -> None:
        self.progress.on_epoch(record)
        self.epochs = record.epoch
        if self.best is None or record.val_loss < self.best.val_loss:
            self.best = record
        record_heartbeat(self.trial)
        self.trial.report(self.value(), record.epoch)
        if record.epoch < self.max_epochs and self.trial.should_prune():
            raise _TrialPruned

    def value(self) -> float:
        if self.best is None or self.best.val_accuracy is None:
            raise TuneError("a search needs a classification network")
        return self.best.val_loss if self.objective == "loss" else self.best.val_accuracy


def run_search(search_config: SearchConfig, trials: int) -> optuna.Study:
    """Run trials until the study has ``trials`` finished ones, including earlier ones.

    Failed trials are recorded with their reason. Ctrl-C keeps the results and is re-raised.

    Raises:
        TuneError: the study cannot be used or has other settings, or all its trials failed.
        TrainingError: the device is not available.
        OutputError: the folder cannot be written.
    """
    choose_device(search_config.device)
    storage = search_config.study or search_config.out / STUDY_FILENAME
    study = open_study(
        storage,
        search_config.name,
        search_config.study_setting(),
        search_config.objective == "loss",
    )
    study.pruner = _build_pruner(search_config)
    study.sampler = PerTrialTPESampler(search_config.base.seed)
    with translate_errors(storage):
        _run_trials(search_config, study, trials)
    _require_success(study)
    return study


def _run_trials(search_config: SearchConfig, study: optuna.Study, trials: int) -> None:
    while True:
        stale = fail_stale(study)
        if stale:
            search_config.on_stale(stale)
        done = len(finished_trials(study))
        if done + len(running_trials(study)) >= trials:
            break
        _run_trial(search_config, study, done + 1, trials)
        _delete_other_runs(study, search_config.out / TRIALS_FOLDER)


def trial_folder(out: Path, number: int) -> Path:
    """The run folder of a trial."""
    return out / TRIALS_FOLDER / f"{number:03d}"


def _run_trial(
    search_config: SearchConfig, study: optuna.Study, trial_index: int, trials: int
) -> None:
    trial = study.ask()
    folder, started = trial_folder(search_config.out, trial.number), time.perf_counter()
    try:
        with trial_lock(trial, folder), search_config.on_trial(trial_index, trials) as progress:
            _delete_checkpoints(folder)
            monitor = _TrialMonitor(
                trial, search_config.objective, progress, search_config.base.epochs
            )
            try:
                _train_trial(search_config, trial, folder, monitor)
                state = TrialState.COMPLETE
            except _TrialPruned:
                state = TrialState.PRUNED
                trial.set_user_attr(REASON_KEY, f"pruned after epoch {monitor.epochs}")
            value = monitor.value()
            trial.set_user_attr(EPOCHS_KEY, monitor.epochs)
            trial.set_user_attr(SECONDS_KEY, time.perf_counter() - started)
            trial.set_user_attr(VAL_LOSS_KEY, monitor.best.val_loss if monitor.best else None)
        # A pruned trial's value is its last report.
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    except optuna.exceptions.UpdateFinishedTrialError:
        return  # another process has marked this trial as stale
    except OutputError:  # every other trial would fail, too
        record_failure(study, trial, INTERRUPTED)
        raise
    except (EarfulError, torch.OutOfMemoryError) as error:
        record_failure(study, trial, str(error).splitlines()[0])
    except BaseException:  # Ctrl-C, too; re-raised
        record_failure(study, trial, INTERRUPTED)
        raise
    search_config.on_finished(
        study.get_trials(deepcopy=False)[trial.number], len(finished_trials(study)), trials
    )


def _delete_checkpoints(folder: Path) -> None:
    """Remove checkpoints of an earlier study; the lock file belongs to the current trial."""
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def _train_trial(
    search_config: SearchConfig, trial: Trial, folder: Path, monitor: _TrialMonitor
) -> None:
    config = apply_overrides(search_config.base, search_config.space.suggest(trial))
    train = fit_baseline if zoo_entry(config.model).fitted else fit
    train(
        search_config.dataset,
        folder,
        config,
        device=search_config.device,
        on_batch=monitor.progress.on_batch,
        on_epoch=monitor.on_epoch,
    )


def _build_pruner(search_config: SearchConfig) -> BasePruner:
    epochs = search_config.base.epochs
    if search_config.pruner == "none":
        return NopPruner()
    if search_config.pruner == "hyperband":
        return HyperbandPruner(min_resource=min(_MIN_WARM_UP_EPOCHS, epochs), max_resource=epochs)
    warm_up = max(_MIN_WARM_UP_EPOCHS, round(_WARM_UP_SHARE * epochs))
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warm_up + 1)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best completed trial; ties are broken by validation loss."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1

    def rank(trial: FrozenTrial) -> tuple[float, float, int]:
        return sign * (trial.value or 0.0), trial.user_attrs[VAL_LOSS_KEY], trial.number

    return min(done, key=rank, default=None)


def _delete_other_runs(study: optuna.Study, trials: Path) -> None:
    """Delete all trial folders but that of the best trial, whose checkpoint can be exported."""
    best = best_trial(study)
    for trial in study.get_trials(deepcopy=False):
        folder = trials / f"{trial.number:03d}"
        if trial.state == TrialState.RUNNING or not folder.is_dir():
            continue
        if best is None or trial.number != best.number:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            (folder / LAST_CHECKPOINT).unlink(missing_ok=True)


def _require_success(study: optuna.Study) -> None:
    done = finished_trials(study)
    if done and all(trial.state == TrialState.FAIL for trial in done):
        raise TuneError(
            f"all {len(done)} trials failed; the last: {done[-1].user_attrs[REASON_KEY]}"
        )
