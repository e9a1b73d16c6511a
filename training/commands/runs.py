"""Commands that train: train, crossval, compare, export."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data.errors import EarshotError
from training.commands.options import DeviceOption, ExtraOption, JsonOption, OthersOption


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="cnn, crnn, bcresnet, tcresnet or autoencoder. (default: cnn)"),
    ] = None,
    features: Annotated[
        Literal["mfcc", "log_mel"] | None,
        typer.Option(help="What the network sees. (default: what suits it best)"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs at most. (default: cnn 150, crnn 30, autoencoder 20, the others 40)"
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips a step. (default: autoencoder 32, the others 64)")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam, at its peak. (default: what suits the network)")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without improvement to stop after. (default: what suits it)"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights, order and dropout. (default: 42)")
    ] = None,
    recurrent: Annotated[
        Literal["gru", "lstm"] | None, typer.Option(help="Layer of crnn. (default: gru)")
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Multiplier of bcresnet's channels. (default: 1)")
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option("--augment/--no-augment", help="New versions of the clips each epoch."),
    ] = None,
    mixup: Annotated[
        float | None, typer.Option(help="Chance that a clip is mixed with another. (default: 0)")
    ] = None,
    extra: ExtraOption = None,
    others: OthersOption = None,
    repeats: Annotated[
        int | None, typer.Option(help="Times that an epoch reads DATASET, beside extra once.")
    ] = None,
    device: DeviceOption = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
) -> None:
    """Train a network on a dataset; leaves checkpoints, metrics, curves and a confusion matrix.

    autoencoder learns what clips sound like and no labels: it serves `earshot map`.
    """
    from data.dataset import open_dataset
    from training.company import open_company
    from training.progress import training_progress
    from training.run import choose_config, train_run

    options = {"recurrent": recurrent, "width": width}
    flags = {
        "model": model, "features": features, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "patience": patience, "seed": seed, "augment": augment,
        "repeats": repeats, "mixup": mixup,
        "options": {k: v for k, v in options.items() if v is not None} or None,
    }  # fmt: skip
    given = {name: value for name, value in flags.items() if value is not None}
    config = choose_config(out, given, resume=resume)
    opened, besides = open_dataset(dataset), open_company(extra, others)
    with training_progress(config.epochs) as progress:
        metrics = train_run(
            opened, out, config, company=besides, device=device, resume=resume, progress=progress
        )
    _tell_trained(metrics, out)


def crossval(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Folder for a run a fold; finished ones are kept.")],
    folds: Annotated[
        str, typer.Option(help="speaker: leave one out; or a number of groups of speakers.")
    ] = "speaker",
    model: Annotated[str, typer.Option(help="cnn, crnn, bcresnet or tcresnet.")] = "cnn",
    epochs: Annotated[int | None, typer.Option(help="Of each fold, at most.")] = None,
    repeats: Annotated[
        int, typer.Option(help="Times that an epoch reads DATASET, beside extra once.")
    ] = 1,
    extra: ExtraOption = None,
    others: OthersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a network on voices it has never heard: train once for each fold of speakers."""
    import dataclasses

    from data.dataset import open_dataset
    from training.company import open_company
    from training.config import default_config
    from training.crossval import cross_validate
    from training.progress import TrainingProgress, training_progress

    if folds != "speaker" and not (folds.isdecimal() and int(folds) > 1):
        raise EarshotError(f"--folds is speaker or a number of 2 or more, found {folds!r}")
    config = default_config(model)
    config = dataclasses.replace(
        config, epochs=config.epochs if epochs is None else epochs, repeats=repeats
    )
    opened, besides = open_dataset(dataset), open_company(extra, others)
    with training_progress(config.epochs) as progress:

        def on_fold(name: str, number: int, count: int) -> TrainingProgress:
            typer.echo(f"fold {number} of {count}: {name}", err=True)
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
        typer.Option(help="Networks, comma-separated; all that classify without it."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of each run, at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and dropout.")] = None,
    extra: ExtraOption = None,
    others: OthersOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects on stdout.")] = False,
) -> None:
    """Train every network on every dataset: accuracy, size, work and time in one table."""
    import dataclasses

    from data.dataset import open_dataset
    from models.zoo import CLASSIFIERS
    from training.company import open_company
    from training.compare import compare as compare_networks
    from training.compare import table
    from training.progress import TrainingProgress, describe

    names = list(CLASSIFIERS) if models is None else [name.strip() for name in models.split(",")]
    given = {name: v for name, v in (("epochs", epochs), ("seed", seed)) if v is not None}

    def on_run(name: str, number: int, count: int, of_epochs: int) -> TrainingProgress:
        typer.echo(f"run {number} of {count}: {name}", err=True)
        return TrainingProgress(
            on_epoch=lambda record: typer.echo(describe(record, of_epochs), err=True)
        )

    rows = compare_networks(
        [open_dataset(folder) for folder in datasets], names, out, given=given,
        company=open_company(extra, others), device=device, on_run=on_run,
    )  # fmt: skip
    typer.echo(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=2) if as_json else table(rows)
    )


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by train.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
) -> None:
    """Write a run's best epoch as one ONNX file, checked against PyTorch."""
    from training.export import export as export_run

    exported = export_run(run, out)
    if not exported.finished:
        typer.echo(
            f"note: {run} was stopped before its end; `earshot train --resume` goes on", err=True
        )
    typer.echo(
        f"{exported.path}: {exported.bytes / 1e6:.2f} MB, {len(exported.metadata.labels)} labels, "
        f"ONNX Runtime and PyTorch agree within {exported.worst_difference:.1e}"
    )


def _tell_trained(metrics: dict[str, Any], run: Path) -> None:
    part = "test" if metrics["test"] else "validation"
    found = metrics[part]
    typer.echo(
        f"{run}: {metrics['model']} on {metrics['features']}, "
        f"{metrics['parameters']:,} parameters, "
        f"best epoch {metrics['best_epoch']} of {metrics['epochs']}, "
        f"{metrics['training_seconds']:.0f} s on {metrics['device']}"
    )
    typer.echo(f"{part} {_quality(found)}, {found['clips']} clips, {metrics['split_mode']} split")
    sys.stdout.flush()


def _quality(found: dict[str, Any]) -> str:
    if "accuracy" not in found:
        return (
            f"reconstruction error {found['reconstruction_error']:.4f} "
            f"({100 * found['explained_variance']:.1f} % of the variance explained)"
        )
    low, high = (100 * bound for bound in found["accuracy_ci95"])
    return f"accuracy {100 * found['accuracy']:.2f} % ({low:.1f} to {high:.1f})"
