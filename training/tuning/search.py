"""The search: trial after trial, each a training run of its own, the hopeless ones cut short.

A trial is judged by what it would release: its epoch of the lowest validation loss. Trial ``n``
draws its settings by (seed, n) and the trials before it, so that a search that was ended and begun
again goes on as one that was not.
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
from earful.models.bundle.device import Device
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, EpochRecord
from earful.training.trainer.setup import choose_device
from earful.training.trainer.trainer import fit
from earful.training.tuning.sampler import SamplerByNumber
from earful.training.tuning.space import Space, TuneError
from earful.training.tuning.study import (
    EPOCHS,
    FILE,
    INTERRUPTED,
    NAME,
    REASON,
    SECONDS,
    VAL_LOSS,
    at_work,
    clear_errors,
    fail_stale,
    finished,
    heard,
    open_study,
    running,
    tell_failed,
)

Objective = Literal["accuracy", "loss"]
Pruner = Literal["median", "hyperband", "none"]
# In the folder of a search: a run a trial, and that of the best settings on the whole dataset.
TRIALS, RUN = "trials", "run"
# Trials that are run to their end before the median of them means something.
_STARTUP_TRIALS = 5
# The first epochs say little: so many of them, or this share, are left to every trial.
_WARM_UP_EPOCHS, _WARM_UP_SHARE = 3, 0.1


@dataclass(frozen=True)
class Search:
    """What is searched; ``dataset`` as ``voices_apart`` gives it, ``base`` what trials share.

    ``objective`` is the validation accuracy, or the loss, of the epoch with the lowest loss.
    """

    dataset: Dataset
    out: Path
    base: TrainConfig
    space: Space
    objective: Objective = "accuracy"
    pruner: Pruner = "median"
    study: str | None = None
    name: str = NAME
    device: Device = "auto"
    # Who hears of a trial: by its number, counted from 1, and how many are wanted.
    on_trial: Callable[[int, int], AbstractContextManager[TrainingProgress]] = field(
        default=lambda number, wanted: contextlib.nullcontext(TrainingProgress())
    )
    on_finished: Callable[[FrozenTrial, int, int], None] = lambda trial, done, wanted: None
    on_stale: Callable[[list[int]], None] = lambda numbers: None

    def setting(self) -> dict[str, Any]:
        """What all trials of a study have in common; trials of another cannot be compared."""
        return {
            "data": self.dataset.content_hash,
            "objective": self.objective,
            "pruner": self.pruner,
            "fixed": {name: str(v) for name, v in self.base.to_dict().items()},
            "space": self.space.to_dict(),
        }


class _Hopeless(Exception):  # noqa: N818 - it ends a run and is no error
    """A trial that the pruner ends."""


@dataclass
class _Judge:
    """Hears the epochs of a trial, tells the study, and ends the trial when it is hopeless."""

    trial: Trial
    objective: Objective
    inner: TrainingProgress
    of_epochs: int
    best: EpochRecord | None = None
    epochs: int = 0

    def on_epoch(self, record: EpochRecord) -> None:
        self.inner.on_epoch(record)
        self.epochs = record.epoch
        if self.best is None or record.val_loss < self.best.val_loss:
            self.best = record
        heard(self.trial)
        self.trial.report(self.value(), record.epoch)
        if record.epoch < self.of_epochs and self.trial.should_prune():
            raise _Hopeless

    def value(self) -> float:
        if self.best is None or self.best.val_accuracy is None:
            raise TuneError("a search compares networks that name labels")
        return self.best.val_loss if self.objective == "loss" else self.best.val_accuracy


def search(asked: Search, trials: int) -> optuna.Study:
    """Make trials until the study has ``trials`` finished ones, with those that it had before.

    A trial that fails is recorded with its reason. Ctrl-C keeps what was found and is passed on.

    Raises:
        TuneError: the study cannot be used or is of another setting, or all of its trials failed.
        TrainingError: a device that is not there.
        OutputError: the folder cannot be written.
    """
    choose_device(asked.device)
    place = asked.study or asked.out / FILE
    study = open_study(place, asked.name, asked.setting(), asked.objective == "loss")
    study.pruner, study.sampler = _pruner(asked), SamplerByNumber(asked.base.seed)
    with clear_errors(place):
        _make_trials(asked, study, trials)
    _check(study)
    return study


def _make_trials(asked: Search, study: optuna.Study, trials: int) -> None:
    while True:
        stale = fail_stale(study)
        if stale:
            asked.on_stale(stale)
        done = len(finished(study))
        if done + len(running(study)) >= trials:
            break
        _one_trial(asked, study, done + 1, trials)
        _keep_best(study, asked.out / TRIALS)


def folder_of(out: Path, number: int) -> Path:
    """The run of a trial."""
    return out / TRIALS / f"{number:03d}"


def _one_trial(asked: Search, study: optuna.Study, nth: int, trials: int) -> None:
    trial = study.ask()
    folder, began = folder_of(asked.out, trial.number), time.perf_counter()
    try:
        with at_work(trial, folder), asked.on_trial(nth, trials) as progress:
            _clear(folder)
            judge = _Judge(trial, asked.objective, progress, asked.base.epochs)
            try:
                _train(asked, trial, folder, judge)
                state = TrialState.COMPLETE
            except _Hopeless:
                state = TrialState.PRUNED
                trial.set_user_attr(REASON, f"pruned after epoch {judge.epochs}")
            value = judge.value()
            trial.set_user_attr(EPOCHS, judge.epochs)
            trial.set_user_attr(SECONDS, time.perf_counter() - began)
            trial.set_user_attr(VAL_LOSS, judge.best.val_loss if judge.best else None)
        # A pruned trial's value is its last report.
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    except optuna.exceptions.UpdateFinishedTrialError:
        return  # another process took this one for dead
    except OutputError:  # no trial's fault, and no other would fare better
        tell_failed(study, trial, INTERRUPTED)
        raise
    except (EarfulError, torch.OutOfMemoryError) as error:
        tell_failed(study, trial, str(error).splitlines()[0])
    except BaseException:  # Ctrl-C too; it goes on to the caller
        tell_failed(study, trial, INTERRUPTED)
        raise
    asked.on_finished(study.get_trials(deepcopy=False)[trial.number], len(finished(study)), trials)


def _clear(folder: Path) -> None:
    """Remove what a trial of another study left here; the lock is that of the trial at work."""
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def _train(asked: Search, trial: Trial, folder: Path, judge: _Judge) -> None:
    config = apply_overrides(asked.base, asked.space.draw(trial))
    fit(
        asked.dataset, folder, config, device=asked.device, on_batch=judge.inner.on_batch,
        on_epoch=judge.on_epoch,
    )  # fmt: skip


def _pruner(asked: Search) -> BasePruner:
    epochs = asked.base.epochs
    if asked.pruner == "none":
        return NopPruner()
    if asked.pruner == "hyperband":
        return HyperbandPruner(min_resource=min(_WARM_UP_EPOCHS, epochs), max_resource=epochs)
    warm_up = max(_WARM_UP_EPOCHS, round(_WARM_UP_SHARE * epochs))
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warm_up + 1)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best of the trials that came to their end; of equals the one of the lowest loss."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    return min(
        done, key=lambda t: (sign * (t.value or 0.0), t.user_attrs[VAL_LOSS], t.number),
        default=None,
    )  # fmt: skip


def _keep_best(study: optuna.Study, trials: Path) -> None:
    """Of the trials' folders only that of the best is needed: its checkpoint can be exported."""
    best = best_trial(study)
    for trial in study.get_trials(deepcopy=False):
        folder = trials / f"{trial.number:03d}"
        if trial.state == TrialState.RUNNING or not folder.is_dir():
            continue
        if best is None or trial.number != best.number:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            (folder / LAST_CHECKPOINT).unlink(missing_ok=True)


def _check(study: optuna.Study) -> None:
    done = finished(study)
    if done and all(trial.state == TrialState.FAIL for trial in done):
        raise TuneError(
            f"all of {len(done)} trials failed; the last: {done[-1].user_attrs[REASON]}"
        )
