"""The study: where trials are kept, who works on which, and which were left by a dead process.

A trial that runs is locked by its process (``flock``, which a kill lets go), and tells the study
after every epoch that it lives; so a process that is gone is known on its own machine at once, and
from another after an hour of silence.
"""

import contextlib
import fcntl
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from earful.training.tuning.space import TuneError

FILE = "study.db"
# A name in a study that several searches share.
NAME = "earful"
REASON, EPOCHS, SECONDS, VAL_LOSS = "reason", "epochs", "seconds", "val_loss"
_SETTING, _HOST, _LOCK, _HEARD = "setting", "host", "lock", "heard"
_SILENT_SECONDS = 3600.0
# How long a process waits for another that writes; SQLite knows one writer at a time.
_BUSY_SECONDS = 60
# Two processes make the tables of a new study at once: one fails, and finds them a moment later.
_MADE_TWICE = ("already exists", "unique constraint", "duplicate key")
_ATTEMPTS, _PAUSE_SECONDS = 5, 0.5
INTERRUPTED = "interrupted"
# What Optuna says to a second verdict on a trial.
_TOLD_BEFORE = (optuna.exceptions.UpdateFinishedTrialError, ValueError)


def open_study(place: str | Path, name: str, setting: dict[str, Any], loss: bool) -> optuna.Study:
    """The study at a database URL, or in this SQLite file; made where there is none.

    Raises:
        TuneError: the database cannot be used, or its trials are of another setting.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with clear_errors(place):
        study = _study(place, name, loss)
        text = json.dumps(setting, sort_keys=True)
        found = study.user_attrs.get(_SETTING)
        if found is None:
            study.set_user_attr(_SETTING, text)
        elif found != text:
            changed = _changed(json.loads(found), json.loads(text))
            raise TuneError(
                f"the study {name!r} in {_shown(place)} has trials of another setting ({changed}); "
                "go on with the same one, or give another --out or --name"
            )
    return study


def _study(place: str | Path, name: str, loss: bool) -> optuna.Study:
    for left in reversed(range(_ATTEMPTS)):
        try:
            return optuna.create_study(
                storage=_storage(place), study_name=name, load_if_exists=True,
                direction="minimize" if loss else "maximize",
            )  # fmt: skip
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            if not left or not any(words in str(error).lower() for words in _MADE_TWICE):
                raise
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last attempt raises")


def _storage(place: str | Path) -> RDBStorage:
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{place.absolute()}"
    else:
        url = make_url(place).render_as_string(hide_password=False)
        if url.startswith("postgresql://"):
            url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    waits = {"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs={"connect_args": waits, "pool_pre_ping": True})


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that need not be made again: done, pruned, or failed by a fault of their own."""
    return [trial for trial in study.get_trials(deepcopy=False) if _is_finished(trial)]


def _is_finished(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.FAIL:
        # Without a reason its process was killed.
        return bool(trial.user_attrs.get(REASON, INTERRUPTED) != INTERRUPTED)
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def running(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that somebody works on now."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


@contextlib.contextmanager
def at_work(trial: Trial, folder: Path) -> Iterator[None]:
    """Mark a trial as worked on by this process, in the folder that the trial has."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").absolute()
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        trial.set_user_attr(_LOCK, str(lock))
        trial.set_user_attr(_HOST, socket.gethostname())
        heard(trial)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                lock.unlink()


def heard(trial: Trial) -> None:
    """Tell the study that the trial's process lives."""
    trial.set_user_attr(_HEARD, time.time())


def fail_stale(study: optuna.Study) -> list[int]:
    """Mark trials as failed whose process is gone; their numbers."""
    stale = [trial.number for trial in running(study) if _is_stale(trial)]
    for number in stale:
        with contextlib.suppress(*_TOLD_BEFORE):
            study.tell(number, state=TrialState.FAIL)
    return stale


def tell_failed(study: optuna.Study, trial: Trial, reason: str) -> None:
    """Record a trial as failed with its reason; nothing where another process has given it up."""
    with contextlib.suppress(*_TOLD_BEFORE):
        trial.set_user_attr(REASON, reason)
        study.tell(trial, state=TrialState.FAIL)


def _is_stale(trial: FrozenTrial) -> bool:
    attributes = trial.user_attrs
    if attributes.get(_HOST) == socket.gethostname():
        return _is_free(Path(attributes[_LOCK]))
    began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    last = float(attributes.get(_HEARD, began))
    return time.time() - last > _SILENT_SECONDS


def _is_free(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    lines = []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [
                f"{name} {key} {old.get(key)} -> {new.get(key)}"
                for key in {**old, **new}
                if old.get(key) != new.get(key)
            ]
        elif old != new:
            lines.append(f"{name} {old} -> {new}")
    return "; ".join(lines)


def _shown(place: str | Path) -> str:
    if isinstance(place, Path):
        return str(place)
    return make_url(place).render_as_string(hide_password=True)


@contextlib.contextmanager
def clear_errors(place: str | Path) -> Iterator[None]:
    """Faults of the database as a ``TuneError``, which shows no password."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("psycopg"):
            raise TuneError(
                "PostgreSQL needs psycopg; install it with: uv sync --inexact --extra postgres"
            ) from error
        raise
    except ArgumentError as error:  # its text may show the URL
        raise TuneError(
            "the URL of the study cannot be read; write it as sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise TuneError(f"the study in {_shown(place)} cannot be used: {reason}") from error
