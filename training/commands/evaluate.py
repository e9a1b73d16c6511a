"""``earful evaluate``: a model file measured on labelled recordings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from earful.data.errors import UsageError
from earful.data.labels.csv_options import CsvOptions
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.next_steps import keep_on_interrupt, print_message, print_next
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    LabelSeparatorOption,
    RegistryOption,
    csv_options,
)
from earful.service.core.echo import echo
from earful.training.commands.options import AudioDirOption, JsonOption

Split = Literal["test", "val", "train", "all"]
Breakdown = Literal["speaker", "label"]


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="ONNX file, or a name in the registry.")
    ],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.csv|DATASET|EVENTS",
            help="Labels CSV, or a dataset folder, whose test clips are used; with --events the "
            "events of recordings: a labels CSV, an Audacity label track, or a folder of tracks.",
        ),
    ],
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    split: Annotated[
        Split | None,
        typer.Option(help="Rows to use, by the split column. (default: test, if there are any)"),
    ] = None,
    by: Annotated[
        Breakdown | None,
        typer.Option(help="List all speakers, or all labels."),
    ] = None,
    noise_test: Annotated[
        bool,
        typer.Option("--noise-test", help="Measure also in noise of several kinds, at 20 to 0 dB."),
    ] = False,
    noise_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Recorded noise to add to the noise test."),
    ] = None,
    negatives: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Other sound, without the labels, to count false accepts in: a file, a folder, a "
            "labels CSV or a dataset; can be repeated.",
        ),
    ] = None,
    false_accepts_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Write the lowest threshold with at most N false accepts an hour into MODEL.",
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events", help="Find the labelled events in their whole recordings, with borders."
        ),
    ] = False,
    collar: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="With --events: how far the borders of an event may be off. (default: 0.2)",
        ),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for a report.")] = None,
) -> None:
    """Measure a model file on labelled recordings, through the code that serves it."""
    flags = _ClipFlags(split, noise_test, noise_dir, negatives, false_accepts_per_hour)
    options = csv_options(audio_dir, columns, label_separator)
    if events:
        flags.refuse(by)
        failed = _evaluate_events(model, labels, options, collar, by, registry, as_json, out)
    elif collar is not None:
        raise UsageError("--collar is for the borders of events; give --events as well")
    else:
        failed = _evaluate_clips(model, labels, options, flags, by, registry, as_json, out)
    reject = ("--reject",) if false_accepts_per_hour is not None else ()
    print_next(
        ("serve", "--model", model, *reject), ("classify", "FOLDER", "--model", model, *reject)
    )
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@dataclass(frozen=True)
class _ClipFlags:
    """The flags that measure single clips."""

    split: Split | None
    noise_test: bool
    noise_dir: Path | None
    negatives: list[Path] | None
    false_accepts_per_hour: float | None

    def refuse(self, by: str | None) -> None:
        """Refuse those that are given with ``--events``.

        Raises:
            UsageError: one is given.
        """
        given = [
            f"--{name.replace('_', '-')}"
            for name, value in vars(self).items()
            if value is not None and value is not False
        ]
        given += ["--by speaker"] if by == "speaker" else []
        if given:
            raise UsageError(
                f"{', '.join(given)} measures clips, and --events whole recordings; run two "
                "evaluations"
            )


def _evaluate_clips(
    model: str,
    labels: Path,
    options: CsvOptions,
    flags: _ClipFlags,
    by: Breakdown | None,
    registry: str,
    as_json: bool,
    out: Path | None,
) -> bool:
    """Whether some rows failed."""
    from earful.training.api.evaluate import evaluate as evaluate_labels
    from earful.training.evaluation.labelled_events import is_label_track

    if labels.is_file() and is_label_track(labels):
        raise UsageError(f"{labels} is an Audacity label track of events; add --events")
    with keep_on_interrupt("nothing was written"):
        result = evaluate_labels(
            model,
            labels,
            **vars(options),
            **vars(flags),
            registry=registry,
            out=out,
            progress=True,
        )
    for note in result.notes:
        print_message(note)
    _print(result.to_dict() if as_json else result.text(by), out)
    return bool(result.failed)


def _evaluate_events(
    model: str,
    source: Path,
    options: CsvOptions,
    collar: float | None,
    by: Breakdown | None,
    registry: str,
    as_json: bool,
    out: Path | None,
) -> bool:
    """Whether some events or recordings failed."""
    from earful.training.api.evaluate import evaluate_events
    from earful.training.evaluation.event_metrics import COLLAR_SECONDS

    with keep_on_interrupt("nothing was written"):
        result = evaluate_events(
            model,
            source,
            **vars(options),
            collar_seconds=COLLAR_SECONDS if collar is None else collar,
            registry=registry,
            out=out,
            progress=True,
        )
    text = result.text(all_labels=by == "label")
    _print(result.to_dict() if as_json else text, out)
    return bool(result.failed)


def _print(result: dict[str, Any] | str, out: Path | None) -> None:
    """Print a text, or an object as JSON, and the files of the report."""
    is_text = isinstance(result, str)
    echo(result if is_text else json.dumps(result, indent=2, ensure_ascii=False))
    if out is not None:
        echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}", err=True)
