"""The Optuna study: storage, locks of running trials, and detection of stale trials.

The process of a running trial holds a file lock (``flock``, released when it dies) and writes a
heartbeat to the study after every epoch. Stale trials are detected at once on the same host, and
after an hour without heartbeat from other hosts.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from earful.data.errors import missing_package_error
from earful.training.tuning.space import TuneError

STUDY_FILENAME = "study.db"
# Name of the study in its database.
DEFAULT_STUDY_NAME = "earful"
REASON_KEY, EPOCHS_KEY, SECONDS_KEY, VAL_LOSS_KEY = "reason", "epochs", "seconds", "val_loss"
_SETTING_KEY, _HOST_KEY, _LOCK_KEY, _HEARTBEAT_KEY = "setting", "host", "lock", "heartbeat"
_HEARTBEAT_TIMEOUT_SECONDS = 3600.0
# Wait for other writers: SQLite allows one at a time.
_BUSY_SECONDS = 60
# When two processes create the tables at once, one fails and retries.
_CREATION_RACE_ERRORS = ("already exists", "unique constraint", "duplicate key")
_ATTEMPTS, _RETRY_SECONDS = 5, 0.5
INTERRUPTED = "interrupted"
# Errors of Optuna when a trial is finished twice.
_ALREADY_FINISHED = (optuna.exceptions.UpdateFinishedTrialError, ValueError)


def open_study(
    storage: str | Path, name: str, setting: dict[str, Any], minimize_loss: bool
) -> optuna.Study:
    """Open or create the study in an SQLite file or at a database URL.

    Raises:
        TuneError: the database cannot be used, or its trials have other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with translate_errors(storage):
        study = _create_study(storage, name, minimize_loss)
        text = json.dumps(setting, sort_keys=True)
        stored = study.user_attrs.get(_SETTING_KEY)
        if stored is None:
            study.set_user_attr(_SETTING_KEY, text)
        elif stored != text:
            changed = _describe_changes(json.loads(stored), json.loads(text))
            raise TuneError(
                f"the study {name!r} in {_format_storage(storage)} has trials with other settings "
                f"({changed}); use the same settings, or give another --out or --name"
            )
    return study


def _create_study(storage: str | Path, name: str, minimize_loss: bool) -> optuna.Study:
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            return optuna.create_study(
                storage=_open_storage(storage),
                study_name=name,
                load_if_exists=True,
                direction="minimize" if minimize_loss else "maximize",
            )
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            if not attempts_left or not any(
                text in str(error).lower() for text in _CREATION_RACE_ERRORS
            ):
                raise
            time.sleep(_RETRY_SECONDS)
    raise AssertionError("the last attempt raises")


def _open_storage(storage: str | Path) -> RDBStorage:
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{storage.absolute()}"
    else:
        url = make_url(storage).render_as_string(hide_password=False)
        if url.startswith("postgresql://"):
            url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    connect_args = {"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs={"connect_args": connect_args, "pool_pre_ping": True})


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are not repeated: completed, pruned, or failed but not interrupted."""
    return [trial for trial in study.get_trials(deepcopy=False) if _is_finished(trial)]


def _is_finished(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.FAIL:
        # A trial without a reason was killed.
        return bool(trial.user_attrs.get(REASON_KEY, INTERRUPTED) != INTERRUPTED)
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def running_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials marked as running."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


@contextlib.contextmanager
def trial_lock(trial: Trial, folder: Path) -> Iterator[None]:
    """Lock a trial for this process, with a lock file in the trial's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").absolute()
    with FileLock(lock):
        trial.set_user_attr(_LOCK_KEY, str(lock))
        trial.set_user_attr(_HOST_KEY, socket.gethostname())
        record_heartbeat(trial)
        yield


def record_heartbeat(trial: Trial) -> None:
    """Record that the trial's process is alive."""
    trial.set_user_attr(_HEARTBEAT_KEY, time.time())


def fail_stale(study: optuna.Study) -> list[int]:
    """Mark trials whose process has died as failed; returns their numbers."""
    stale = [trial.number for trial in running_trials(study) if _is_stale(trial)]
    for number in stale:
        with contextlib.suppress(*_ALREADY_FINISHED):
            study.tell(number, state=TrialState.FAIL)
    return stale


def record_failure(study: optuna.Study, trial: Trial, reason: str) -> None:
    """Mark a trial as failed with a reason, unless another process has marked it already."""
    with contextlib.suppress(*_ALREADY_FINISHED):
        trial.set_user_attr(REASON_KEY, reason)
        study.tell(trial, state=TrialState.FAIL)


def _is_stale(trial: FrozenTrial) -> bool:
    attributes = trial.user_attrs
    if attributes.get(_HOST_KEY) == socket.gethostname():
        return _is_unlocked(Path(attributes[_LOCK_KEY]))
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    last_heartbeat = float(attributes.get(_HEARTBEAT_KEY, started))
    return time.time() - last_heartbeat > _HEARTBEAT_TIMEOUT_SECONDS


def _is_unlocked(lock: Path) -> bool:
    if not lock.exists():
        return True
    try:
        with FileLock(lock, blocking=False):
            return True
    except Timeout:
        return False


def _describe_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
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


def _format_storage(storage: str | Path) -> str:
    if isinstance(storage, Path):
        return str(storage)
    return make_url(storage).render_as_string(hide_password=True)


@contextlib.contextmanager
def translate_errors(storage: str | Path) -> Iterator[None]:
    """Translate database errors to ``TuneError`` without the password of the URL."""
    try:
        yield
    except ArgumentError as error:  # its message may contain the password
        raise TuneError(
            "the database URL of the study is invalid; write it as sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from error
    except ImportError as error:  # optuna's own, around that of the database's driver
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ModuleNotFoundError) and (missing := missing_package_error(cause)):
            raise missing from error
        raise
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        reason_of: BaseException = error
        if isinstance(error, optuna.exceptions.StorageInternalError):  # its text is general
            reason_of = error.__cause__ or error
        reason = str(getattr(reason_of, "orig", None) or reason_of).splitlines()[0]
        raise TuneError(
            f"the study in {_format_storage(storage)} cannot be used: {reason}"
        ) from error
