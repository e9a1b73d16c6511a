"""``earful evaluate``: a model file measured on labelled recordings."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.service.commands.next_steps import keep_on_interrupt, print_message, print_next
from earful.service.commands.options import EXIT_SOME_FAILED, RegistryOption
from earful.training.commands.options import AudioDirOption, JsonOption


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="ONNX file, or a name in the registry.")
    ],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.csv|DATASET",
            help="Labels CSV, or a dataset folder, whose test clips are used.",
        ),
    ],
    audio_dir: AudioDirOption = None,
    split: Annotated[
        Literal["test", "val", "train", "all"] | None,
        typer.Option(help="Rows to use, by the split column. (default: test, if there are any)"),
    ] = None,
    by: Annotated[
        Literal["speaker", "label"] | None,
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
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for a report.")] = None,
) -> None:
    """Measure a model file on labelled recordings, through the code that serves it."""
    from earful.training.api.evaluate import evaluate as evaluate_labels

    with keep_on_interrupt("nothing was written"):
        result = evaluate_labels(
            model,
            labels,
            audio_dir=audio_dir,
            split=split,
            noise_test=noise_test,
            noise_dir=noise_dir,
            negatives=negatives,
            false_accepts_per_hour=false_accepts_per_hour,
            registry=registry,
            out=out,
            progress=True,
        )
    for note in result.notes:
        print_message(note)
    typer.echo(
        json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else result.text(by)
    )
    if out is not None:
        typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}", err=True)
    reject = ("--reject",) if false_accepts_per_hour is not None else ()
    print_next(
        ("serve", "--model", model, *reject), ("classify", "FOLDER", "--model", model, *reject)
    )
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
