"""The page of a run: what is known of it, drawn and written into one file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.networks.zoo import zoo_entry, parameter_count
from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import templates
from earful.training.reports.run_report import drawings
from earful.training.reports.run_report.predictions import (
    Answer,
    Noise,
    answers,
    in_noise,
    measured,
    sureness,
    worst,
)
from earful.training.reports.run_report.read_run import Run, find_dataset, read_run
from earful.training.trainer.checkpoint import rebuild_network

PAGE = "report.html"
# Of more labels the confusions are listed, and not drawn as a table.
_MOST_COLUMNS = 30
_LISTED = 30


@dataclass(frozen=True)
class Wanted:
    """What the page is to hold.

    ``clips`` of each kind are shown, with sounds and pictures of ``most_bytes`` in all.
    """

    dataset: Path | None = None
    clips: int = 24
    most_bytes: int = 8_000_000
    noise: bool = True
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass
class Shown:
    """All that the template fills in beside the run; ``notes`` say what is missing and why."""

    part: str = ""
    found: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    split_mode: str = ""
    dataset: str = ""
    mistakes: list[Answer] = field(default_factory=list)
    unsure: list[Answer] = field(default_factory=list)
    sureness: ConfidenceReport | None = None
    noise: Noise | None = None
    notes: list[str] = field(default_factory=list)


def write_run_report(folder: Path, out: Path, wanted: Wanted) -> list[str]:
    """Write the page of a run; the notes that it begins with.

    Raises:
        TrainingError: the folder holds no run, or a damaged one.
        RunReportError: ``wanted.dataset`` is not what the run was trained on.
        OutputError: ``out`` cannot be written.
    """
    run = read_run(folder)
    shown = _gather(run, wanted)
    best = run.best
    page = (
        templates()
        .get_template("run.html")
        .render(
            run=run,
            config=best.config,
            parameters=parameter_count(rebuild_network(best).network),
            seconds=sum(record.seconds for record in run.history),
            shown=shown,
            settings=run.settings(),
            curves=drawings.curves(run),
            layers=drawings.layers(run),
            health=drawings.health(run),
            speakers=_speakers(shown.found),
            confusion=_confusion(shown.found),
            confused=_confused(shown.found),
            reliability=drawings.reliability(shown.sureness, best.score_kind),
            coverage=drawings.coverage(shown.sureness),
            noise=drawings.noise(shown.noise),
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
    return shown.notes


def _gather(run: Run, wanted: Wanted) -> Shown:
    """The figures of metrics.json, and what only the clips themselves can tell."""
    shown = Shown()
    dataset, why = find_dataset(run, wanted.dataset)
    if dataset is None:
        shown.notes.append(f"Without clips: {why}.")
    else:
        shown.dataset, shown.split_mode = str(dataset.folder), dataset.split_mode
    if run.metrics is not None:
        shown.validation = run.metrics["validation"]
        shown.found = run.metrics["test"] or shown.validation
        shown.part = "test" if run.metrics["test"] else "validation"
        shown.split_mode = run.metrics["split_mode"]
    else:
        shown.notes.append(
            f"This run is not finished: {len(run.history)} of at most {run.best.config.epochs} "
            "epochs so far. `earful train DATASET --out RUN --resume` goes on. The test part is "
            "not looked at before the end; figures are of the validation part."
        )
        if dataset is not None:
            shown.validation = shown.found = measured(run, dataset)
            shown.part = "validation"
    if dataset is not None and shown.found is not None:
        _hear_clips(run, dataset, shown, wanted)
    return shown


def _hear_clips(run: Run, dataset: Dataset, shown: Shown, wanted: Wanted) -> None:
    if zoo_entry(run.best.config.model).task != "classification":
        return
    split = "test" if shown.part == "test" else "val"
    found = answers(run, dataset, split)
    told = (shown.found or {})["accuracy"]
    if abs(found.accuracy - told) > 0.5 / len(found.rows):
        shown.notes.append(
            f"The clips are answered otherwise than when the run ended: "
            f"{100 * found.accuracy:.2f} % right now, {100 * told:.2f} % in metrics.json."
        )
    shown.mistakes, shown.unsure = worst(found, dataset, wanted.clips, wanted.most_bytes)
    if run.best.calibration is not None:
        shown.sureness = sureness(found, run.best.calibration.threshold)
    if wanted.noise:
        try:
            shown.noise = in_noise(run, dataset, split, wanted.progress)
        except EarfulError as error:  # the page is worth having without it
            shown.notes.append(f"Not tried in noise: {error}.")


def _speakers(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Speakers from the worst on, with the interval of their accuracy."""
    rows = []
    for name, row in (found or {}).get("per_speaker", {}).items():
        low, high = wilson_interval(round(row["accuracy"] * row["clips"]), int(row["clips"]))
        rows.append({"name": name, "low": low, "high": high, **row})
    return sorted(rows, key=lambda row: (row["accuracy"], -row["clips"]))


def _confusion(found: dict[str, Any] | None) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """Rows of the table: the true label, and (label, clips, share of its clips) across."""
    if not found or len(found.get("labels", ())) > _MOST_COLUMNS or "confusion" not in found:
        return []
    labels = found["labels"]
    held = [int(found["per_label"][label]["clips"]) for label in labels]
    return [
        (true, [(said, n, n / clips) for said, n in zip(labels, row, strict=True)])
        for true, row, clips in zip(labels, found["confusion"], held, strict=True)
        if clips
    ]


def _confused(found: dict[str, Any] | None) -> list[tuple[int, str, str]]:
    """The commonest mistakes: (clips, the label that they have, what was said in its place)."""
    if not found or "confusion" not in found:
        return []
    labels = found["labels"]
    pairs = [
        (n, true, said)
        for true, row in zip(labels, found["confusion"], strict=True)
        for said, n in zip(labels, row, strict=True)
        if n and true != said
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:_LISTED]
