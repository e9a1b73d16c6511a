"""What a search leaves: a table of trials, the settings of the best, and a picture."""

import csv
import dataclasses
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from earful.data.atomic_write import staged_file
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.plots.plots import COLORS, save_figure
from earful.training.tuning.search import RUN, Search, best_trial
from earful.training.tuning.space import readable
from earful.training.tuning.study import EPOCHS, REASON, SECONDS, VAL_LOSS, finished

TABLE, BEST_SETTINGS, PICTURE = "trials.csv", "best.json", "tune.png"
_SHOWN = 10
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
           TrialState.RUNNING: "running", TrialState.WAITING: "waiting"}  # fmt: skip
_DONE, _BEST = COLORS[:2]
_PRUNED = "0.7"


@dataclass(frozen=True)
class Tried:
    """One trial. ``value`` is its objective, of a pruned one when it was ended; None if failed."""

    number: int
    state: str
    value: float | None
    val_loss: float | None
    epochs: int | None
    seconds: float | None
    reason: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Tried":
        found = trial.user_attrs
        reason = "" if trial.state == TrialState.COMPLETE else found.get(REASON, "was killed")
        value = None if trial.state == TrialState.FAIL else trial.value
        return cls(
            trial.number, _STATES[trial.state], value, found.get(VAL_LOSS), found.get(EPOCHS),
            found.get(SECONDS), reason, readable(trial.params),
        )  # fmt: skip

    def line(self) -> str:
        """For a person, as it ends."""
        settings = ", ".join(f"{name} {_shown(value)}" for name, value in self.settings.items())
        value = "" if self.value is None else f" {self.value:.4f} ({self.seconds:.1f} s)"
        reason = f", {self.reason}" if self.reason else ""
        return f"trial {self.number} {self.state}{value}{reason}: {settings}"


@dataclass(frozen=True)
class Found:
    """A search as far as it has come: all trials that ended, and the best of them, if any."""

    trials: tuple[Tried, ...]
    best: Tried | None
    config: TrainConfig | None
    command: str
    objective: str
    note: str

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful tune --json``, and of best.json."""
        states = [trial.state for trial in self.trials]
        return {
            "objective": self.objective,
            "validation": self.note,
            "trials": {state: states.count(state) for state in dict.fromkeys(states)},
            "best": dataclasses.asdict(self.best) if self.best else None,
            "config": self.config.to_dict() if self.config else None,
            "command": self.command,
        }

    def text(self) -> str:
        """For a person: the best trials, how many there were, and what to run next."""
        percent = self.objective == "accuracy"
        ranked = sorted(
            (trial for trial in self.trials if trial.state == "done"),
            key=lambda t: (-1 if percent else 1) * (t.value or 0.0),
        )
        names = sorted({name for trial in ranked for name in trial.settings})
        heads = ["trial", f"val {self.objective}", "val loss", "epochs", "s", *names]
        rows = [heads, *(_row(trial, names, percent) for trial in ranked[:_SHOWN])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        counts = ", ".join(f"{n} {state}" for state, n in self.to_dict()["trials"].items())
        lines.append(f"{len(self.trials)} trials: {counts}")
        failed = [trial for trial in self.trials if trial.state == "failed"]
        lines += [f"trial {trial.number} failed: {trial.reason}" for trial in failed]
        if self.command:
            lines.append(f"train with the best settings:\n  {self.command}")
        return "\n".join(lines)


def _row(trial: Tried, names: list[str], percent: bool) -> list[str]:
    value = trial.value or 0.0
    return [
        str(trial.number), f"{100 * value:.2f} %" if percent else f"{value:.4f}",
        f"{trial.val_loss:.4f}", str(trial.epochs), f"{trial.seconds:.1f}",
        *(_shown(trial.settings.get(name, "")) for name in names),
    ]  # fmt: skip


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def gather(asked: Search, study: optuna.Study, note: str, dataset: Path) -> Found:
    """What the study holds; ``dataset`` is the folder that the command to run names."""
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    best = best_trial(study)
    config = apply_overrides(asked.base, readable(best.params)) if best else None
    command = train_command(config, dataset, asked.out / RUN) if config else ""
    return Found(
        tuple(map(Tried.of, ended)), Tried.of(best) if best else None, config, command,
        asked.objective, note,
    )  # fmt: skip


def train_command(config: TrainConfig, dataset: Path, out: Path) -> str:
    """``earful train`` with every flag whose default would differ."""
    default = default_config(config.model)
    words = ["earful", "train", str(dataset), "--out", str(out), "--model", config.model]
    for field in dataclasses.fields(TrainConfig):
        value = getattr(config, field.name)
        if field.name in ("model", "options") or value == getattr(default, field.name):
            continue
        words += _flag(field.name, value)
    for name, value in config.options.items():
        words += ["--option", f"{name}={value}"]
    return shlex.join(words)


def _flag(name: str, value: object) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    return [f"--{dashed}", str(value)]


def write_findings(found: Found, study: optuna.Study, out: Path) -> None:
    """trials.csv, best.json and tune.png in the folder of the search.

    Raises:
        OutputError: they cannot be written.
    """
    names = sorted({name for trial in found.trials for name in trial.settings})
    columns = [field.name for field in dataclasses.fields(Tried) if field.name != "settings"]
    with staged_file(out / TABLE) as staging, staging.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f)
        writer.writerow([*columns, *names])
        for trial in found.trials:
            own = [getattr(trial, column) for column in columns]
            writer.writerow([*own, *(trial.settings.get(name, "") for name in names)])
    with staged_file(out / BEST_SETTINGS) as staging:
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
        staging.write_text(text, "utf-8")
    _draw(found, importances(study), out / PICTURE)


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the objective's variance each setting explains (fANOVA, Hutter et al. 2014).

    Over the trials that came to their end; empty where they are too few or all alike.
    """
    done = [trial for trial in finished(study) if trial.state == TrialState.COMPLETE]
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: share for name, share in found.items() if math.isfinite(share)}


def _draw(found: Found, shares: dict[str, float], path: Path) -> None:
    """The objective of each trial with the best so far; beside it what it depended on."""
    figure = Figure(figsize=(11 if shares else 7, 4), layout="constrained")
    panels: Any = figure.subplots(1, 1 + bool(shares), squeeze=False)[0]
    axes = panels[0]
    for state, colour, marker in (("done", _DONE, "o"), ("pruned", _PRUNED, "x")):
        points = [(t.number, t.value) for t in found.trials if t.state == state]
        if points:
            axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, label=state)
    done = [t for t in found.trials if t.state == "done" and t.value is not None]
    better = min if found.objective == "loss" else max
    so_far = [better(t.value or 0.0 for t in done[: i + 1]) for i in range(len(done))]
    axes.step([t.number for t in done], so_far, where="post", color=_BEST, label="best")
    axes.set(xlabel="trial", ylabel=f"validation {found.objective}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    if shares:
        names = list(shares)[::-1]
        panels[1].barh(names, [shares[name] for name in names], color=_DONE)
        panels[1].set(xlabel="share of the variance explained (fANOVA)")
    save_figure(figure, path)
