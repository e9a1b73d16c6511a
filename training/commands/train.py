"""``earful train``: every choice of training is a flag, and its default is the network's own."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from earful.training.commands.options import DeviceOption, ExtraOption, NegativesOption

_STEPS, _LOSS, _CLIPS = "How it learns", "What it learns from", "Clips"
_NETWORK, _MACHINE = "The network", "The machine"


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A network, a baseline or autoencoder; a wrong name lists them. (default: cnn)"
        ),
    ] = None,
    features: Annotated[
        Literal["mfcc", "log_mel"] | None,
        typer.Option(help="What the network sees. (default: what suits it best)"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs at most. (default: cnn 150, mlp 60, crnn and convrnn 30, others 40)"
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips a step. (default: 64; autoencoder 32)")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Early stopping: epochs without a lower validation loss. (default: cnn 20)"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order and dropout. (default: 42)")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped, if it has begun.")
    ] = False,
    optimizer: Annotated[
        Literal[
            "sgd",
            "momentum",
            "nesterov",
            "adagrad",
            "adadelta",
            "rmsprop",
            "adam",
            "adamw",
            "lbfgs",
        ]
        | None,
        typer.Option(
            help="What takes the steps. (default: adam; bcresnet, tcresnet adamw)",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="At its peak; see lr-find. (default: cnn 0.001)", rich_help_panel=_STEPS
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(help="Of momentum and nesterov. (default: 0.9)", rich_help_panel=_STEPS),
    ] = None,
    schedule: Annotated[
        Literal["constant", "step", "cosine", "one-cycle", "plateau"] | None,
        typer.Option(
            help="Of the learning rate. (default: constant; bcresnet, tcresnet one-cycle)",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    schedule_epochs: Annotated[
        int | None,
        typer.Option(
            help="step: between falls; plateau: without a lower validation loss. (default: 10)",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    schedule_factor: Annotated[
        float | None,
        typer.Option(
            help="What the rate is multiplied by then. (default: 0.5)", rich_help_panel=_STEPS
        ),
    ] = None,
    l1: Annotated[
        float | None,
        typer.Option(
            "--l1", help="Times the sum of the weights' sizes. (default: 0)", rich_help_panel=_STEPS
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            "--l2",
            "--weight-decay",
            help="Times half the sum of their squares; with adamw decoupled. (default: 0)",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    grad_clip: Annotated[
        float | None,
        typer.Option(
            help="Longer gradients are cut to it. (default: never)", rich_help_panel=_STEPS
        ),
    ] = None,
    ema_decay: Annotated[
        float | None,
        typer.Option(
            help="Decay a step of the average of weights that is released. (default: 0)",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    loss: Annotated[
        Literal["cross-entropy", "focal", "bce"] | None,
        typer.Option(
            help="bce: each label by itself. (default: cross-entropy; bce for several labels)",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    focal_gamma: Annotated[
        float | None,
        typer.Option(
            help="How little sure clips count with focal. (default: 2)", rich_help_panel=_LOSS
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            help="Share of the target spread over all. (default: 0)", rich_help_panel=_LOSS
        ),
    ] = None,
    balance: Annotated[
        Literal["none", "weights", "sampling"] | None,
        typer.Option(
            help="Rare labels count more in the loss, or are read more often. (default: none)",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="New versions of the clips each epoch. (default: bcresnet, tcresnet do)",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    augment_strength: Annotated[
        Literal["default", "strong"] | None,
        typer.Option(
            help="How loud new versions are in the background; strong: crowds. (default: default)",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            help="Chance that a clip is mixed with another. (default: 0)", rich_help_panel=_CLIPS
        ),
    ] = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    noise_only: Annotated[
        float | None,
        typer.Option(
            help="With --negatives: share of background alone. (default: bcresnet, tcresnet 0.02)",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    oversample: Annotated[
        int | None,
        typer.Option(
            help="Times that an epoch reads DATASET, beside extra once. (default: 1)",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(help="Chance of a unit to be left out.", rich_help_panel=_NETWORK),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            help="none, batch, layer, instance or group. (default: cnn none, crnn batch)",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            help="relu, leaky-relu, prelu, elu, sigmoid or tanh. (default: relu)",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    recurrent: Annotated[
        str | None,
        typer.Option(
            help="gru or lstm. (default: crnn gru, convrnn lstm)", rich_help_panel=_NETWORK
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            help="Recurrent ones; hidden ones of mlp. (default: 1)", rich_help_panel=_NETWORK
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(help="Units of crnn, convrnn and mlp.", rich_help_panel=_NETWORK),
    ] = None,
    bidirectional: Annotated[
        bool | None,
        typer.Option(
            "--bidirectional/--unidirectional",
            help="Whether recurrent layers read both ways.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            help="Multiplier of bcresnet's channels. (default: 1)", rich_help_panel=_NETWORK
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Any option of the network; a wrong name lists them. Repeatable.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Of the network's products. (default: float32)", rich_help_panel=_MACHINE
        ),
    ] = None,
    compile_network: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Fuse the network: a minute before the first step. (default: no)",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            help="Parts of a batch, one after the other or a process each. (default: 1 each)",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    checkpoint_mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A second place for checkpoints, to go on from on another machine.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Logs in RUN; look with: tensorboard --logdir RUN"),
    ] = False,
) -> None:
    """Train a network on a dataset; leaves checkpoints, metrics, curves and a confusion matrix.

    A flag that is not given is the network's own choice. Several processes:
    torchrun --nproc-per-node 2 --no-python earful train ... `earful report RUN` shows what came
    of it.
    """
    from earful.data.dataset.dataset import open_dataset
    from earful.training.config.overrides import parse_options, apply_overrides
    from earful.training.config.train_config import TrainConfig, default_config
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.runs.progress import TrainingProgress, training_progress
    from earful.training.runs.train_run import find_resume_config, adapt_to_dataset, train_run
    from earful.training.trainer.distributed import detect_distributed

    flags = {
        "model": model, "features": features, "epochs": epochs, "batch_size": batch_size,
        "patience": patience, "seed": seed, "optimizer": optimizer,
        "learning_rate": learning_rate, "momentum": momentum, "schedule": schedule,
        "schedule_epochs": schedule_epochs, "schedule_factor": schedule_factor, "l1": l1,
        "weight_decay": weight_decay, "grad_clip": grad_clip,
        "ema_decay": ema_decay, "loss": loss, "focal_gamma": focal_gamma,
        "label_smoothing": label_smoothing, "balance": balance, "augment": augment, "augment_strength": augment_strength,
        "mixup": mixup, "noise_only": noise_only, "oversample": oversample, "precision": precision,
        "compile": compile_network, "shards": shards,
        "dropout": dropout, "norm": norm, "activation": activation, "recurrent": recurrent,
        "layers": layers, "hidden": hidden, "bidirectional": bidirectional, "width": width,
    }  # fmt: skip
    overrides = {name: value for name, value in flags.items() if value is not None}
    dist_context, opened, auxiliary = detect_distributed(), open_dataset(dataset), open_auxiliary_data(extra, negatives)
    resumed_config = find_resume_config(out, checkpoint_mirror) if resume else None
    base = resumed_config or default_config(model or TrainConfig.model)
    overrides |= parse_options(str(overrides.get("model", base.model)), option or [])
    config = apply_overrides(base, overrides)
    if resumed_config is None:
        config = adapt_to_dataset(config, overrides, opened, dist_context.world_size)
    shown = (
        training_progress(config.epochs, config.batch_size)
        if dist_context.is_main_process
        else nullcontext(TrainingProgress())
    )
    with shown as progress:
        metrics = train_run(
            opened, out, config, auxiliary=auxiliary, device=device, resume=resume, progress=progress,
            checkpoint_mirror=checkpoint_mirror, dist_context=dist_context, tensorboard=tensorboard,
        )  # fmt: skip
    if dist_context.is_main_process:
        tell_trained(metrics, out)


def tell_trained(metrics: dict[str, Any], run: Path) -> None:
    """The best epoch of a run and how good it is, in two lines on stdout."""
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
