"""Candidates of ``earful compare`` and their results as a table and a plot.

A candidate is a network of the zoo, optionally with settings: ``crnn:recurrent=lstm:layers=2``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import feature_shape
from earful.models.networks.zoo import build_network, require_classifier, zoo_entry
from earful.training.baselines.fit import check_baseline
from earful.training.config.overrides import SettingValue, parse_settings
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.plots.chart import COLORS, GRID_COLOR, percent, save_figure
from earful.training.runs.train_run import dataset_config

Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class DatasetAccuracy:
    """Test accuracy of one network on one dataset, with its 95 % interval (Wilson)."""

    dataset: str
    clips: int
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """A network with settings; ``text`` is how the user wrote it."""

    text: str
    model: str
    settings: dict[str, SettingValue]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``NAME`` or ``NAME:SETTING=VALUE:...``.

        Raises:
            EarfulError: unknown network or setting, invalid value, or no classification network.
        """
        model, *settings = (part.strip() for part in text.split(":"))
        require_classifier(model)
        return cls(text, model, parse_settings(model, settings, text, ("model", "epochs", "seed")))

    @property
    def folder(self) -> str:
        """Name of the candidate's folder."""
        return self.text.replace(":", "_")

    def config(self, overrides: Mapping[str, Any], dataset: Dataset) -> TrainConfig:
        """The defaults of the network, with ``overrides`` and the candidate's own settings.

        Baselines that are fitted in one go take only the seed of ``overrides``.

        Raises:
            EarfulError: a value is invalid.
        """
        fitted = zoo_entry(self.model).fitted
        applicable = {
            name: value for name, value in overrides.items() if name == "seed" or not fitted
        }
        return dataset_config(self.model, {**applicable, **self.settings}, dataset)

    def check(self, config: TrainConfig, dataset: Dataset, auxiliary: AuxiliaryData) -> None:
        """Check, without training, that the candidate can be trained on a dataset.

        Raises:
            EarfulError: it cannot.
        """
        if zoo_entry(self.model).fitted:
            check_baseline(dataset, auxiliary, config)
        bins, frames = feature_shape(dataset.features, config.features)
        build_network(self.model, bins, frames, len(dataset.labels), config.options)


@dataclass(frozen=True)
class ComparisonRow:
    """Results of one model file: that of a candidate, or its INT8 version.

    latency_ms  median of one clip, waveform to probabilities, on one thread
    file        the model file, relative to the folder of the comparison
    """

    model: str
    precision: Precision
    features: str
    parameters: int
    multiply_adds: int
    size_bytes: int
    latency_ms: float
    training_seconds: float
    file: str
    accuracies: tuple[DatasetAccuracy, ...]

    @property
    def suffix(self) -> str:
        return " INT8" if self.precision == "int8" else ""


def comparison_table(rows: Sequence[ComparisonRow]) -> str:
    """Results as a Markdown table."""
    columns = ["network", "input", "parameters", "multiply-adds", "training time"]
    header = [*columns, "kB", "ms per clip", *(result.dataset for result in rows[0].accuracies)]
    lines = [header, ["---"] * len(header), *map(_table_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _table_cells(row: ComparisonRow) -> list[str]:
    return [
        f"`{row.model}`{row.suffix}",
        row.features,
        f"{row.parameters:,}",
        f"{row.multiply_adds / 1e6:.1f} M",
        f"{row.training_seconds:.0f} s",
        f"{row.size_bytes / 1000:,.0f}",
        f"{row.latency_ms:.2f}",
        *map(_format_accuracy, row.accuracies),
    ]


def _format_accuracy(result: DatasetAccuracy) -> str:
    low, high = result.accuracy_ci95
    return f"{100 * result.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def plot_comparison(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Plot accuracy with its interval per dataset, latency, training time and parameters."""
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes: Any = figure.subplots(1, 4, sharey=True, width_ratios=(3, 1, 1, 1))
    _plot_accuracies(axes[0], rows)
    bars: list[tuple[str, list[float]]] = [
        ("ms per clip, one thread", [row.latency_ms for row in rows]),
        ("training time (s)", [max(row.training_seconds, 1e-3) for row in rows]),
        ("parameters", [float(row.parameters) for row in rows]),
    ]
    for panel, (name, values) in zip(axes[1:], bars, strict=True):
        drawn = panel.barh(range(len(rows)), values, color="0.75")
        panel.set(xlabel=name, xscale="log", xlim=(min(values) / 3, 100 * max(values)))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.bar_label(drawn, [_format_short(value) for value in values], padding=3)
    for panel in axes:
        panel.grid(color=GRID_COLOR, axis="x")
    save_figure(figure, path)


def _plot_accuracies(panel: Any, rows: Sequence[ComparisonRow]) -> None:
    positions = range(len(rows))
    n_datasets = len(rows[0].accuracies)
    for number in range(n_datasets):
        results = [row.accuracies[number] for row in rows]
        below = [result.accuracy - result.accuracy_ci95[0] for result in results]
        above = [result.accuracy_ci95[1] - result.accuracy for result in results]
        shift = 0.16 * (number - (n_datasets - 1) / 2)
        panel.errorbar(
            [result.accuracy for result in results],
            [position + shift for position in positions],
            xerr=[below, above],
            fmt="o",
            capsize=3,
            color=COLORS[number % len(COLORS)],
            label=results[0].dataset,
        )
    panel.set_yticks(positions, [row.model + row.suffix for row in rows], parse_math=False)
    panel.invert_yaxis()
    percent(panel.xaxis)
    panel.set(xlabel="test accuracy, 95 % interval")
    panel.legend(loc="best")


def _format_short(value: float) -> str:
    """A number with about three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
