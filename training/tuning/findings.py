"""Results of a search: a table of trials, the best settings, and a plot."""

import dataclasses
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

from earful.data.atomic_write import staged_file, write_json
from earful.data.text.formula_cells import write_csv
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.plots.chart import COLORS, GRID_COLOR, save_figure
from earful.training.tuning.search import BEST_RUN_FOLDER, SearchConfig, best_trial
from earful.training.tuning.space import round_settings
from earful.training.tuning.study import (
    EPOCHS_KEY,
    REASON_KEY,
    SECONDS_KEY,
    VAL_LOSS_KEY,
    finished_trials,
)

TRIALS_FILENAME, BEST_SETTINGS_FILENAME, PLOT_FILENAME = "trials.csv", "best.json", "tune.png"
_MAX_LISTED = 10
_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_DONE_COLOR, _BEST_COLOR = COLORS[:2]
_PRUNED_COLOR = "0.7"


@dataclass(frozen=True)
class TrialResult:
    """One trial; ``value`` is its objective (of a pruned trial the last one), None if it failed."""

    number: int
    state: str
    value: float | None
    val_loss: float | None
    epochs: int | None
    seconds: float | None
    reason: str
    settings: dict[str, Any]

    @classmethod
    def from_trial(cls, trial: FrozenTrial) -> "TrialResult":
        """The result of a trial of the study."""
        attributes = trial.user_attrs
        reason = "" if trial.state == TrialState.COMPLETE else attributes.get(REASON_KEY, "killed")
        value = None if trial.state == TrialState.FAIL else trial.value
        return cls(
            number=trial.number,
            state=_STATES[trial.state],
            value=value,
            val_loss=attributes.get(VAL_LOSS_KEY),
            epochs=attributes.get(EPOCHS_KEY),
            seconds=attributes.get(SECONDS_KEY),
            reason=reason,
            settings=round_settings(trial.params),
        )

    def format_line(self) -> str:
        """One line for the progress output."""
        settings = ", ".join(
            f"{name} {_format_value(value)}" for name, value in self.settings.items()
        )
        value = "" if self.value is None else f" {self.value:.4f} ({self.seconds:.1f} s)"
        reason = f", {self.reason}" if self.reason else ""
        return f"trial {self.number} {self.state}{value}{reason}: {settings}"


@dataclass(frozen=True)
class TuneResult:
    """A search so far: all ended trials, the best one if any, and a command to train with it."""

    trials: tuple[TrialResult, ...]
    best: TrialResult | None
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
        """Table of the best trials, number of trials by state, and the next command."""
        percent = self.objective == "accuracy"
        ranked = sorted(
            (trial for trial in self.trials if trial.state == "done"),
            key=lambda t: (-1 if percent else 1) * (t.value or 0.0),
        )
        names = sorted({name for trial in ranked for name in trial.settings})
        headers = ["trial", f"val {self.objective}", "val loss", "epochs", "s", *names]
        rows = [headers, *(_format_row(trial, names, percent) for trial in ranked[:_MAX_LISTED])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        counts = ", ".join(f"{n} {state}" for state, n in self.to_dict()["trials"].items())
        lines.append(f"{len(self.trials)} trials: {counts}")
        failed = [trial for trial in self.trials if trial.state == "failed"]
        lines += [f"trial {trial.number} failed: {trial.reason}" for trial in failed]
        if self.command:
            lines.append(f"train with the best settings:\n  {self.command}")
        return "\n".join(lines)


def _format_row(trial: TrialResult, names: list[str], percent: bool) -> list[str]:
    value = trial.value or 0.0
    return [
        str(trial.number),
        f"{100 * value:.2f} %" if percent else f"{value:.4f}",
        f"{trial.val_loss:.4f}",
        str(trial.epochs),
        f"{trial.seconds:.1f}",
        *(_format_value(trial.settings.get(name, "")) for name in names),
    ]


def _format_value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def collect_results(
    search_config: SearchConfig, study: optuna.Study, note: str, dataset: Path
) -> TuneResult:
    """Results of a study; ``dataset`` is the dataset folder in the suggested command."""
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    best = best_trial(study)
    config = apply_overrides(search_config.base, round_settings(best.params)) if best else None
    command = train_command(config, dataset, search_config.out / BEST_RUN_FOLDER) if config else ""
    return TuneResult(
        trials=tuple(map(TrialResult.from_trial, ended)),
        best=TrialResult.from_trial(best) if best else None,
        config=config,
        command=command,
        objective=search_config.objective,
        note=note,
    )


def train_command(config: TrainConfig, dataset: Path, out: Path) -> str:
    """The ``earful train`` command for a configuration, with all non-default flags."""
    default = default_config(config.model)
    arguments = ["earful", "train", str(dataset), "--out", str(out), "--model", config.model]
    for field in dataclasses.fields(TrainConfig):
        value = getattr(config, field.name)
        if field.name in ("model", "options") or value == getattr(default, field.name):
            continue
        arguments += _format_flag(field.name, value)
    for name, value in config.options.items():
        arguments += ["--set", f"{name}={value}"]
    return shlex.join(arguments)


def _format_flag(name: str, value: object) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    return [f"--{dashed}", str(value)]


def write_results(result: TuneResult, study: optuna.Study, out: Path) -> None:
    """Write trials.csv, best.json and tune.png to the folder of the search.

    Raises:
        OutputError: a file cannot be written.
    """
    names = sorted({name for trial in result.trials for name in trial.settings})
    columns = [field.name for field in dataclasses.fields(TrialResult) if field.name != "settings"]
    rows = (
        [getattr(trial, c) for c in columns] + [trial.settings.get(n, "") for n in names]
        for trial in result.trials
    )
    with staged_file(out / TRIALS_FILENAME) as staging:
        write_csv(staging, [*columns, *names], rows)
    write_json(out / BEST_SETTINGS_FILENAME, result.to_dict())
    _plot_trials(result, importances(study), out / PLOT_FILENAME)


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of the objective's variance explained by each setting (fANOVA, Hutter et al. 2014).

    Uses completed trials; empty if there are fewer than four or all have the same value.
    """
    complete = [trial for trial in finished_trials(study) if trial.state == TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    importance = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: share for name, share in importance.items() if math.isfinite(share)}


def _plot_trials(result: TuneResult, importance: dict[str, float], path: Path) -> None:
    """Plot the objective of each trial with the best so far, and the importances."""
    figure = Figure(figsize=(11 if importance else 7, 4), layout="constrained")
    panels: Any = figure.subplots(1, 1 + bool(importance), squeeze=False)[0]
    axes = panels[0]
    for state, color, marker in (("done", _DONE_COLOR, "o"), ("pruned", _PRUNED_COLOR, "x")):
        points = [(t.number, t.value) for t in result.trials if t.state == state]
        if points:
            axes.scatter(*zip(*points, strict=True), color=color, marker=marker, label=state)
    done = [t for t in result.trials if t.state == "done" and t.value is not None]
    best_of = min if result.objective == "loss" else max
    best_so_far = [best_of(t.value or 0.0 for t in done[: i + 1]) for i in range(len(done))]
    axes.step([t.number for t in done], best_so_far, where="post", color=_BEST_COLOR, label="best")
    axes.set(xlabel="trial", ylabel=f"validation {result.objective}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID_COLOR)
    axes.legend()
    if importance:
        names = list(importance)[::-1]
        panels[1].barh(names, [importance[name] for name in names], color=_DONE_COLOR)
        panels[1].set(xlabel="share of the variance explained (fANOVA)")
    save_figure(figure, path)
