"""Who is compared, and how they did: one table and one picture.

A contender is a network of the zoo, or one with settings of its own:
``crnn:recurrent=lstm:layers=2``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from earful.data.dataset.dataset import Dataset
from earful.models.networks.zoo import build, entry, require_classifier
from earful.training.baselines.fit import check_baseline
from earful.training.config.overrides import Value, read_settings, settled
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.loaders.auxiliary_data import Company
from earful.training.plots.plots import COLOURS, save_figure
from earful.training.runs.train_run import suited


@dataclass(frozen=True)
class Accuracy:
    """Of one network on the test part of one dataset, with its 95 % interval (Wilson)."""

    dataset: str
    clips: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Contender:
    """A network with settings of its own, by the text that asked for it."""

    text: str
    model: str
    settings: dict[str, Value]

    @classmethod
    def read(cls, text: str) -> Self:
        """``NAME`` or ``NAME:SETTING=VALUE:...``.

        Raises:
            EarfulError: no such network or setting, a value that it cannot have, or a network
                that names no labels.
        """
        model, *settings = (part.strip() for part in text.split(":"))
        require_classifier(model)
        return cls(text, model, read_settings(model, settings, text, ("model", "epochs", "seed")))

    @property
    def folder(self) -> str:
        return self.text.replace(":", "_")

    def config(self, given: Mapping[str, Any], dataset: Dataset) -> TrainConfig:
        """With ``given`` where that means something to it.

        Raises:
            EarfulError: a value that cannot be trained with.
        """
        steps = {} if entry(self.model).fitted else given
        own = {"seed": given["seed"]} if "seed" in given else {}
        base = replace(default_config(self.model), **{**steps, **own})
        return suited(settled(base, self.settings), self.settings, dataset, processes=1)

    def check(self, config: TrainConfig, dataset: Dataset, company: Company) -> None:
        """See that it can be trained on these clips, as far as that is known before.

        Raises:
            EarfulError: it cannot.
        """
        if entry(self.model).fitted:
            check_baseline(dataset, company, config)
        bins, frames = dataset.features.bins(config.features), dataset.features.frames
        build(self.model, bins, frames, len(dataset.labels), config.options)


@dataclass(frozen=True)
class Compared:
    """One contender. ``milliseconds`` is for one clip, waveform to probabilities, on one thread;
    ``file`` is its exported model, relative to the folder of the comparison.
    """

    model: str
    features: str
    parameters: int
    multiply_adds: int
    milliseconds: float
    training_seconds: float
    file: str
    accuracies: tuple[Accuracy, ...]


def table(rows: Sequence[Compared]) -> str:
    """The contenders as a Markdown table."""
    names = [found.dataset for found in rows[0].accuracies]
    heads = [
        "network", "input", "parameters", "multiply-adds", "trained in", "ms a clip", *names,
    ]  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        accuracies = [
            f"{100 * a.accuracy:.1f} % ({100 * a.interval[0]:.1f} to {100 * a.interval[1]:.1f})"
            for a in row.accuracies
        ]
        lines.append(
            [
                f"`{row.model}`", row.features, f"{row.parameters:,}",
                f"{row.multiply_adds / 1e6:.1f} M", f"{row.training_seconds:.0f} s",
                f"{row.milliseconds:.2f}", *accuracies,
            ]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plot_comparison(rows: Sequence[Compared], path: Path) -> None:
    """Accuracy with its interval for every dataset, beside time a clip, training time and size."""
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes: Any = figure.subplots(1, 4, sharey=True, width_ratios=(3, 1, 1, 1))
    places = range(len(rows))
    n_datasets = len(rows[0].accuracies)
    for number in range(n_datasets):
        found = [row.accuracies[number] for row in rows]
        errors = [
            [a.accuracy - a.interval[0] for a in found], [a.interval[1] - a.accuracy for a in found]
        ]  # fmt: skip
        shift = 0.16 * (number - (n_datasets - 1) / 2)
        axes[0].errorbar(
            [a.accuracy for a in found], [place + shift for place in places], xerr=errors, fmt="o",
            capsize=3, color=COLOURS[number % len(COLOURS)], label=found[0].dataset,
        )  # fmt: skip
    axes[0].set_yticks(places, [row.model for row in rows], parse_math=False)
    axes[0].invert_yaxis()
    axes[0].xaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set(xlabel="test accuracy, 95 % interval")
    axes[0].legend(loc="best")
    bars: list[tuple[str, list[float]]] = [
        ("ms a clip, one thread", [row.milliseconds for row in rows]),
        ("trained in (s)", [max(row.training_seconds, 1e-3) for row in rows]),
        ("parameters", [float(row.parameters) for row in rows]),
    ]
    for panel, (name, values) in zip(axes[1:], bars, strict=True):
        drawn = panel.barh(places, values, color="0.75")
        panel.set(xlabel=name, xscale="log", xlim=(min(values) / 3, 100 * max(values)))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.bar_label(drawn, [_short(value) for value in values], padding=3)
    for panel in axes:
        panel.grid(alpha=0.3, axis="x")
    save_figure(figure, path)


def _short(value: float) -> str:
    """A number in three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
