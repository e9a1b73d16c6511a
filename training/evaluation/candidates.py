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
from earful.models.networks.zoo import build_network, zoo_entry, require_classifier
from earful.training.baselines.fit import check_baseline
from earful.training.config.overrides import SettingValue, parse_settings, apply_overrides
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.plots.plots import COLORS, save_figure
from earful.training.runs.train_run import adapt_to_dataset


@dataclass(frozen=True)
class DatasetAccuracy:
    """Of one network on the test part of one dataset, with its 95 % interval (Wilson)."""

    dataset: str
    clips: int
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """A network with settings of its own, by the text that asked for it."""

    text: str
    model: str
    settings: dict[str, SettingValue]

    @classmethod
    def parse(cls, text: str) -> Self:
        """``NAME`` or ``NAME:SETTING=VALUE:...``.

        Raises:
            EarfulError: no such network or setting, a value that it cannot have, or a network
                that names no labels.
        """
        model, *settings = (part.strip() for part in text.split(":"))
        require_classifier(model)
        return cls(text, model, parse_settings(model, settings, text, ("model", "epochs", "seed")))

    @property
    def folder(self) -> str:
        return self.text.replace(":", "_")

    def config(self, overrides: Mapping[str, Any], dataset: Dataset) -> TrainConfig:
        """With ``given`` where that means something to it.

        Raises:
            EarfulError: a value that cannot be trained with.
        """
        step_overrides = {} if zoo_entry(self.model).fitted else overrides
        own = {"seed": overrides["seed"]} if "seed" in overrides else {}
        base = replace(default_config(self.model), **{**step_overrides, **own})
        return adapt_to_dataset(apply_overrides(base, self.settings), self.settings, dataset, processes=1)

    def check(self, config: TrainConfig, dataset: Dataset, auxiliary: AuxiliaryData) -> None:
        """See that it can be trained on these clips, as far as that is known before.

        Raises:
            EarfulError: it cannot.
        """
        if zoo_entry(self.model).fitted:
            check_baseline(dataset, auxiliary, config)
        bins, frames = dataset.features.bins(config.features), dataset.features.frames
        build_network(self.model, bins, frames, len(dataset.labels), config.options)


@dataclass(frozen=True)
class ComparisonRow:
    """One contender. ``milliseconds`` is for one clip, waveform to probabilities, on one thread;
    ``file`` is its exported model, relative to the folder of the comparison.
    """

    model: str
    features: str
    parameters: int
    multiply_adds: int
    latency_ms: float
    training_seconds: float
    file: str
    accuracies: tuple[DatasetAccuracy, ...]


def comparison_table(rows: Sequence[ComparisonRow]) -> str:
    """The contenders as a Markdown table."""
    names = [found.dataset for found in rows[0].accuracies]
    header = [
        "network", "input", "parameters", "multiply-adds", "trained in", "ms a clip", *names,
    ]  # fmt: skip
    lines = [header, ["---"] * len(header)]
    for row in rows:
        accuracies = [
            f"{100 * a.accuracy:.1f} % ({100 * a.accuracy_ci95[0]:.1f} to {100 * a.accuracy_ci95[1]:.1f})"
            for a in row.accuracies
        ]
        lines.append(
            [
                f"`{row.model}`", row.features, f"{row.parameters:,}",
                f"{row.multiply_adds / 1e6:.1f} M", f"{row.training_seconds:.0f} s",
                f"{row.latency_ms:.2f}", *accuracies,
            ]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plot_comparison(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Accuracy with its interval for every dataset, beside time a clip, training time and size."""
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes: Any = figure.subplots(1, 4, sharey=True, width_ratios=(3, 1, 1, 1))
    positions = range(len(rows))
    n_datasets = len(rows[0].accuracies)
    for number in range(n_datasets):
        accuracies = [row.accuracies[number] for row in rows]
        errors = [
            [a.accuracy - a.accuracy_ci95[0] for a in accuracies], [a.accuracy_ci95[1] - a.accuracy for a in accuracies]
        ]  # fmt: skip
        shift = 0.16 * (number - (n_datasets - 1) / 2)
        axes[0].errorbar(
            [a.accuracy for a in accuracies], [position + shift for position in positions], xerr=errors, fmt="o",
            capsize=3, color=COLORS[number % len(COLORS)], label=accuracies[0].dataset,
        )  # fmt: skip
    axes[0].set_yticks(positions, [row.model for row in rows], parse_math=False)
    axes[0].invert_yaxis()
    axes[0].xaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set(xlabel="test accuracy, 95 % interval")
    axes[0].legend(loc="best")
    bars: list[tuple[str, list[float]]] = [
        ("ms a clip, one thread", [row.latency_ms for row in rows]),
        ("trained in (s)", [max(row.training_seconds, 1e-3) for row in rows]),
        ("parameters", [float(row.parameters) for row in rows]),
    ]
    for panel, (name, values) in zip(axes[1:], bars, strict=True):
        drawn = panel.barh(positions, values, color="0.75")
        panel.set(xlabel=name, xscale="log", xlim=(min(values) / 3, 100 * max(values)))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.bar_label(drawn, [_format_short(value) for value in values], padding=3)
    for panel in axes:
        panel.grid(alpha=0.3, axis="x")
    save_figure(figure, path)


def _format_short(value: float) -> str:
    """A number in three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
