"""``earful evaluate``: a model file measured on labelled recordings."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.service.commands.options import EXIT_SOME_FAILED, RegistryOption
from earful.training.commands.options import AudioDirOption, JsonOption, LabelsArgument


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="ONNX file, or a name in the registry.")
    ],
    labels_csv: LabelsArgument,
    audio_dir: AudioDirOption = None,
    split: Annotated[
        Literal["test", "val", "train", "all"] | None,
        typer.Option(
            help="Rows of the split column to use; the test rows without it, if there are any."
        ),
    ] = None,
    by: Annotated[
        Literal["speaker", "label"] | None, typer.Option(help="List every speaker, or every label.")
    ] = None,
    noise_test: Annotated[
        bool, typer.Option("--noise-test", help="Again in noise of each kind, at 20 to 0 dB.")
    ] = False,
    noise_dir: Annotated[
        Path | None, typer.Option(help="Recorded noise for --noise-test, besides the kinds it makes.")
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Clips of other words: does --reject refuse them?"),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for a report.")] = None,
) -> None:
    """Measure a model file on labelled recordings, the way it will be used."""
    from earful.models.registry.find_model import find_model
    from earful.training.evaluation.evaluator import evaluate_model, write_evaluation
    from earful.training.runs.progress import work_progress

    with work_progress("evaluate") as on_progress:
        result = evaluate_model(
            find_model(model, registry), labels_csv, audio_dir, split=split, noise_test=noise_test,
            noise_dir=noise_dir, negatives_csv=negatives, progress=on_progress,
        )  # fmt: skip
    for note in result.notes:
        typer.echo(note, err=True)
    typer.echo(
        json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else result.text(by)
    )
    if out is not None:
        write_evaluation(result, out)
        typer.echo(f"report in {out}", err=True)
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
