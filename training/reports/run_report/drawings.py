"""The charts of a run: its curves, its layers, and how far its scores can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from earful.models.bundle.decision import ScoreKind
from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.plots.plots import VALIDATION, validation_label
from earful.training.reports.run_report.chart import Axes, Line, chart
from earful.training.reports.run_report.predictions import Noise
from earful.training.reports.run_report.read_run import Run
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth, warning_key, layer_warnings


@dataclass(frozen=True)
class Warned:
    """What a layer's state warned of, and in which epochs it did."""

    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Health:
    """The layers at the best epoch, and all warnings of the run."""

    layers: tuple[LayerHealth, ...]
    warned: list[Warned]


def curves(run: Run) -> list[Markup]:
    """Loss, accuracy and learning rate over epochs, the best one marked."""
    best, name = run.best_epoch, f"best: epoch {run.best_epoch}"
    loss = [
        Line("training", _curve(run, lambda r: r.loss)),
        Line(validation_label(run.best.config), _curve(run, lambda r: r.val_loss)),
    ]
    accuracy = [
        Line("training, as it learns", _curve(run, lambda r: r.accuracy)),
        Line(VALIDATION, _curve(run, lambda r: r.val_accuracy)),
    ]
    rates = _curve(run, lambda r: r.learning_rate)
    log = _spans_decades([rate for _, rate in rates])
    from_nothing = None if log else (0.0, 1.1 * max(rate for _, rate in rates) or 1.0)
    drawn = [
        chart(Axes("loss", "epoch", log=True, mark=best, mark_name=name), loss),
        chart(Axes("accuracy", "epoch", percent=True, mark=best, mark_name=name), accuracy),
        chart(
            Axes("learning rate", "epoch", log=log, y_range=from_nothing, mark=best),
            [Line("", rates)],
        ),
    ]
    return [figure for figure in drawn if figure]


def layers(run: Run) -> list[Markup]:
    """Dead units and gradients of every layer over epochs."""
    names = list(dict.fromkeys(layer.name for r in run.history for layer in r.layers))
    dead = [Line(name, _of_layer(run, name, lambda x: x.dead_share)) for name in names]
    gradients = [Line(name, _of_layer(run, name, lambda x: x.gradient_rms)) for name in names]
    dead = [line for line in dead if line.points]
    gradients = [line for line in gradients if line.points]
    drawn = [
        chart(Axes("gradient, root mean square", "epoch", log=True), gradients),
        chart(Axes("dead units", "epoch", percent=True, y_range=(0, 1)), dead),
    ]
    return [figure for figure in drawn if figure]


def health(run: Run) -> Health:
    """The layers' state at the best epoch, and every warning with its first and last epoch."""
    found: dict[str, Warned] = {}
    for record in run.history:
        for text in layer_warnings(record.layers):
            key = warning_key(text)
            first = found[key].first if key in found else record.epoch
            found[key] = Warned(text, first, record.epoch)
    best = next((r for r in run.history if r.epoch == run.best_epoch), run.history[-1])
    return Health(best.layers, list(found.values()))


def reliability(found: ConfidenceReport | None, kind: ScoreKind) -> Markup:
    """How often answers of a score are right, against what the score says.

    Of sigmoid scores each label of each clip counts by itself, also those that were not said.
    """
    if found is None:
        return Markup("")
    single = kind == "softmax"
    title = "right answers by score" if single else "labels that are there by score"
    axes = Axes(title, "score", percent=True, x_percent=True, y_range=(0, 1), x_range=(0, 1))
    points = [(each.score, each.accuracy) for each in found.bins]
    counted = Line("clips" if single else "labels of clips", points, dots=True)
    return chart(axes, [counted, Line("as it should be", [(0, 0), (1, 1)], True)])


def coverage(found: ConfidenceReport | None) -> Markup:
    """Accuracy of what is answered over the share that is."""
    if found is None:
        return Markup("")
    axes = Axes(
        "accuracy of what is answered", "share answered", percent=True, x_percent=True,
        x_range=(0, 1), mark=found.operating_point.coverage,
        mark_name=f"at the threshold {found.operating_point.threshold:.2f}",
    )  # fmt: skip
    return chart(axes, [Line("", [(point.coverage, point.accuracy) for point in found.curve])])


def noise(found: Noise | None) -> Markup:
    """Accuracy over the ratio of speech to noise, a line a kind, that without noise dashed."""
    if found is None:
        return Markup("")
    lines = [
        Line(kind, [(p.snr_db, p.accuracy) for p in points], dots=True)
        for kind, points in found.rows
    ]
    ends = sorted({point.snr_db for point in found.points})
    lines.append(Line("no noise added", [(ends[0], found.clean), (ends[-1], found.clean)], True))
    axes = Axes("accuracy in noise", "speech to noise (dB)", percent=True, y_range=(0, 1))
    return chart(axes, lines)


def _curve(run: Run, of: Callable[[EpochRecord], float | None]) -> list[tuple[float, float]]:
    found = [(record.epoch, of(record)) for record in run.history]
    return [(epoch, value) for epoch, value in found if value is not None]


def _of_layer(
    run: Run, name: str, of: Callable[[LayerHealth], float | None]
) -> list[tuple[float, float]]:
    found = [(r.epoch, of(x)) for r in run.history for x in r.layers if x.name == name]
    return [(epoch, value) for epoch, value in found if value is not None]


def _spans_decades(rates: Sequence[float]) -> bool:
    positive = [rate for rate in rates if rate > 0]
    return bool(positive) and max(positive) > 20 * min(positive)
