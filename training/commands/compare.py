"""``earful compare``: several networks on the same split."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.training.commands.options import (
    DeviceOption,
    ExtraOption,
    NegativesOption,
)


def compare(
    datasets: Annotated[
        list[Path], typer.Argument(metavar="DATASET...", help="Folders made by prepare.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for all runs; finished ones are kept.")],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B:SETTING=VALUE,...",
            help="Networks and baselines, with settings of their own; all that there are without.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of each run, at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and dropout.")] = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects on stdout.")] = False,
) -> None:
    """Train networks and baselines on every dataset: one table and picture, one model file each.

    For instance: --models majority,logistic,cnn,crnn,crnn:recurrent=lstm:layers=2
    """
    import dataclasses

    from earful.data.dataset.dataset import open_dataset
    from earful.training.evaluation.candidates import comparison_table
    from earful.training.evaluation.comparison import compare as compare_networks
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.runs.progress import TrainingProgress, format_epoch

    names = None if models is None else [name.strip() for name in models.split(",")]
    overrides = {name: v for name, v in (("epochs", epochs), ("seed", seed)) if v is not None}

    def on_run(name: str, number: int, count: int, of_epochs: int) -> TrainingProgress:
        typer.echo(f"run {number} of {count}: {name}", err=True)
        return TrainingProgress(
            on_epoch=lambda record: typer.echo(format_epoch(record, of_epochs), err=True)
        )

    rows = compare_networks(
        [open_dataset(folder) for folder in datasets], names, out, overrides=overrides,
        auxiliary=open_auxiliary_data(extra, negatives), device=device, on_run=on_run,
        on_skipped=lambda why: typer.echo(f"note: {why}", err=True),
    )  # fmt: skip
    typer.echo(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=2) if as_json else comparison_table(rows)
    )
