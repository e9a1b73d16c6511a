"""Commands around training: crossval, compare, export."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError
from earful.training.commands.options import (
    DeviceOption,
    ExtraOption,
    JsonOption,
    OthersOption,
    SettingOption,
)


def crossval(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Folder for a run a fold; finished ones are kept.")],
    folds: Annotated[
        str, typer.Option(help="speaker: leave one out; or a number of groups of speakers.")
    ] = "speaker",
    model: Annotated[str, typer.Option(help="A network or a baseline, as in train.")] = "cnn",
    epochs: Annotated[int | None, typer.Option(help="Of each fold, at most.")] = None,
    repeats: Annotated[
        int, typer.Option(help="Times that an epoch reads DATASET, beside extra once.")
    ] = 1,
    setting: SettingOption = None,
    extra: ExtraOption = None,
    others: OthersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a network on voices it has never heard: train once for each fold of speakers."""
    from earful.data.dataset import open_dataset
    from earful.models.zoo import entry
    from earful.training.company import open_company
    from earful.training.config import default_config
    from earful.training.crossval import cross_validate
    from earful.training.progress import TrainingProgress, training_progress
    from earful.training.run import suited
    from earful.training.settings import Value, read_settings, settled

    if folds != "speaker" and not (folds.isdecimal() and int(folds) > 1):
        raise EarfulError(f"--folds is speaker or a number of 2 or more, found {folds!r}")
    given: dict[str, Value] = {} if entry(model).fitted else {"repeats": repeats}
    if epochs is not None:
        given["epochs"] = epochs
    given |= read_settings(model, setting or [], "--set", ("model", "epochs", "repeats"))
    opened, besides = open_dataset(dataset), open_company(extra, others)
    config = suited(settled(default_config(model), given), given, opened, processes=1)
    with training_progress(config.epochs) as progress:

        def on_fold(name: str, number: int, count: int) -> TrainingProgress:
            progress.on_note(f"fold {number} of {count}: {name}")
            return progress

        found = cross_validate(
            opened, out, config, n_folds=None if folds == "speaker" else int(folds),
            company=besides, device=device, on_fold=on_fold,
        )  # fmt: skip
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.text())


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
    others: OthersOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects on stdout.")] = False,
) -> None:
    """Train networks and baselines on every dataset: one table and picture, one model file each.

    For instance: --models majority,logistic,cnn,crnn,crnn:recurrent=lstm:layers=2
    """
    import dataclasses

    from earful.data.dataset import open_dataset
    from earful.training.company import open_company
    from earful.training.compare import compare as compare_networks
    from earful.training.contenders import table
    from earful.training.progress import TrainingProgress, describe

    names = None if models is None else [name.strip() for name in models.split(",")]
    given = {name: v for name, v in (("epochs", epochs), ("seed", seed)) if v is not None}

    def on_run(name: str, number: int, count: int, of_epochs: int) -> TrainingProgress:
        typer.echo(f"run {number} of {count}: {name}", err=True)
        return TrainingProgress(
            on_epoch=lambda record: typer.echo(describe(record, of_epochs), err=True)
        )

    rows = compare_networks(
        [open_dataset(folder) for folder in datasets], names, out, given=given,
        company=open_company(extra, others), device=device, on_run=on_run,
        on_left_out=lambda why: typer.echo(f"note: {why}", err=True),
    )  # fmt: skip
    typer.echo(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=2) if as_json else table(rows)
    )


def find_rate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("rate.png"),
    model: Annotated[str, typer.Option(help="The network, as in train.")] = "cnn",
    setting: SettingOption = None,
    extra: ExtraOption = None,
    others: OthersOption = None,
    device: DeviceOption = "auto",
    steps: Annotated[int, typer.Option(min=50, help="How slowly the rate grows.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Find the learning rate to begin with: steps at ever larger rates, and their losses."""
    from earful.data.dataset import open_dataset
    from earful.training.company import open_company
    from earful.training.config import default_config
    from earful.training.plots import plot_rates
    from earful.training.progress import work_progress
    from earful.training.rate_finder import find_rate as find
    from earful.training.run import suited
    from earful.training.settings import read_settings, settled

    if out.suffix != ".png":
        raise EarfulError(f"the picture is a .png, found --out {out}")
    given = read_settings(model, setting or [], "--set", ("model", "learning_rate", "epochs"))
    opened, besides = open_dataset(dataset), open_company(extra, others)
    config = suited(settled(default_config(model), given), given, opened, processes=1)
    with work_progress("step") as on_step:
        found = find(opened, config, company=besides, device=device, steps=steps, on_step=on_step)
    plot_rates(found, f"{model}, {config.optimizer}, batches of {config.batch_size}", out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        typer.echo(
            f"the loss falls fastest at {found.suggested:g}; begin there or somewhat lower: "
            f"--learning-rate {found.suggested:g}"
        )
    typer.echo(f"curve in {out}", err=True)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by train.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
) -> None:
    """Write a run's best epoch as one ONNX file, checked against PyTorch."""
    from earful.training.export import export as export_run

    exported = export_run(run, out)
    if not exported.finished:
        typer.echo(
            f"note: {run} was stopped before its end; it goes on with "
            f"`earful train DATASET --out {run} --resume`",
            err=True,
        )
    typer.echo(
        f"{exported.path}: {exported.bytes / 1e6:.2f} MB, {len(exported.metadata.labels)} labels, "
        f"ONNX Runtime and PyTorch agree within {exported.worst_difference:.1e}"
    )
