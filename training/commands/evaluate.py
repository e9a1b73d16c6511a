"""``earful evaluate``: a model file measured on labelled recordings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from earful.data.errors import UsageError
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.next_steps import keep_on_interrupt, print_message, print_next
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    LabelSeparatorOption,
    RegistryOption,
    csv_options,
    flags_of,
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
    from earful.training.api import evaluate as api
    from earful.training.evaluation.labelled_events import is_label_track

    of_clips: dict[str, Any] = {
        "split": split,
        "noise_test": noise_test,
        "noise_dir": noise_dir,
        "negatives": negatives,
        "false_accepts_per_hour": false_accepts_per_hour,
    }
    shared: dict[str, Any] = vars(csv_options(audio_dir, columns, label_separator))
    shared = {**shared, "registry": registry, "out": out, "progress": True}
    if events:
        _refuse_with_events(of_clips, by)
    elif collar is not None:
        raise UsageError("--collar is for the borders of events; give --events as well")
    elif labels.is_file() and is_label_track(labels):
        raise UsageError(f"{labels} is an Audacity label track of events; add --events")
    notes: Sequence[str] = ()
    with keep_on_interrupt("nothing was written"):
        if events:
            shared |= {} if collar is None else {"collar_seconds": collar}
            found = api.evaluate_events(model, labels, **shared)
            result, failed = found.to_dict(), found.failed
            text = found.text(all_labels=by == "label")
        else:
            measured = api.evaluate(model, labels, **of_clips, **shared)
            result, failed, notes = measured.to_dict(), measured.failed, measured.notes
            text = measured.text(by)
    for note in notes:
        print_message(note)
    echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else text)
    if out is not None:
        echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}", err=True)
    reject = ("--reject",) if false_accepts_per_hour is not None else ()
    print_next(
        ("serve", "--model", model, *reject), ("classify", "FOLDER", "--model", model, *reject)
    )
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _refuse_with_events(of_clips: Mapping[str, object], by: Breakdown | None) -> None:
    """Refuse what measures single clips.

    Raises:
        UsageError: it is given.
    """
    given = flags_of(of_clips)[::2]
    given += ["--by speaker"] if by == "speaker" else []
    if given:
        raise UsageError(
            f"{', '.join(map(str, given))} measures clips, and --events whole recordings; run two "
            "evaluations"
        )
