"""``earful compare``: several networks on the same split."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from earful.service.commands.next_steps import (
    keep_on_interrupt,
    kept_if_any,
    print_message,
    print_next,
)
from earful.service.core.echo import echo
from earful.training.commands.options import DeviceOption, ExtraOption, NegativesOption
from earful.training.commands.setting_options import with_settings
from earful.training.config.train_config import TrainConfig


@with_settings(TrainConfig, only=("epochs", "seed"), after="models")
def compare(
    datasets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET...", help="Folders made by `earful prepare`."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for all runs; finished runs stay.")
    ],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B:SETTING=VALUE,...",
            help="Networks and baselines, each with its settings. (default: all)",
        ),
    ] = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    int8: Annotated[
        bool, typer.Option("--int8", help="Also a row for each network as INT8.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects on stdout.")
    ] = False,
    **settings: Any,
) -> None:
    """Train networks and baselines on each dataset: one table, one plot, one model file each.

    Example: --models majority,logistic,cnn,crnn,crnn:recurrent=lstm:layers=2
    """
    import dataclasses

    from earful.data.atomic_write import require_own_folder
    from earful.data.dataset.dataset import open_dataset
    from earful.training.evaluation.candidates import comparison_table
    from earful.training.evaluation.comparison import compare as compare_networks
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.runs.progress import TrainingProgress, format_epoch

    require_own_folder(out, ("compare.json", "*/*/last.pt"), "comparison")
    networks = None if models is None else [name.strip() for name in models.split(",")]
    overrides = {name: value for name, value in settings.items() if value is not None}

    def on_run(name: str, number: int, count: int, of_epochs: int) -> TrainingProgress:
        echo(f"run {number} of {count}: {name}", err=True)
        return TrainingProgress(
            on_epoch=lambda record: echo(format_epoch(record, of_epochs), err=True)
        )

    with keep_on_interrupt(kept_if_any(out, "*/*/last.pt", "finished epochs")):
        rows = compare_networks(
            [open_dataset(folder) for folder in datasets],
            networks,
            out,
            overrides=overrides,
            auxiliary=open_auxiliary_data(extra, negatives),
            device=device,
            int8=int8,
            on_run=on_run,
            on_skipped=lambda reason: print_message(f"note: {reason}"),
        )
    echo(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=2)
        if as_json
        else comparison_table(rows)
    )
    echo(f"all runs, model files and a plot in {out}", err=True)
    best = max(rows, key=lambda row: row.accuracies[0].accuracy)
    print_next(("serve", "--model", out / best.file))
