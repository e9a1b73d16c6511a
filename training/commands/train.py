"""``earful train``: a dataset, or labels that are prepared first, to a run."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earful.data.atomic_write import OutputError
from earful.service.commands.next_steps import format_command, interrupted, print_next
from earful.service.commands.options import (
    ColumnsOption,
    LabelSeparatorOption,
    csv_flags,
    csv_options,
)
from earful.service.core.echo import echo
from earful.training.commands import train_options as flags
from earful.training.commands.options import (
    AudioDirOption,
    DeviceOption,
    ExtraOption,
    NegativesOption,
    SettingOption,
    TrainingDataArgument,
)

if TYPE_CHECKING:
    from earful.training.api.train import TrainResult

# Parameters of the command that are a setting of ``TrainConfig`` or an option of the network.
_SETTINGS = (
    "features",
    "batch_size",
    "patience",
    "seed",
    "optimizer",
    "learning_rate",
    "momentum",
    "schedule",
    "schedule_epochs",
    "schedule_factor",
    "l1",
    "weight_decay",
    "grad_clip",
    "ema_decay",
    "loss",
    "focal_gamma",
    "label_smoothing",
    "balance",
    "augment",
    "augment_strength",
    "mixup",
    "noise_only",
    "oversample",
    "dropout",
    "norm",
    "activation",
    "recurrent",
    "layers",
    "hidden",
    "bidirectional",
    "width",
    "precision",
    "shards",
)


def train(
    dataset: TrainingDataArgument,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A network, a baseline or autoencoder; a wrong name lists them; auto: a short "
            "contest chooses. (default: auto)"
        ),
    ] = None,
    features: flags.FeaturesOption = None,
    epochs: flags.EpochsOption = None,
    batch_size: flags.BatchSizeOption = None,
    patience: flags.PatienceOption = None,
    seed: flags.SeedOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in RUN, if there is one."),
    ] = False,
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    teacher: flags.TeacherOption = None,
    device: DeviceOption = "auto",
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Write logs for: tensorboard --logdir RUN"),
    ] = False,
    optimizer: flags.OptimizerOption = None,
    learning_rate: flags.LearningRateOption = None,
    momentum: flags.MomentumOption = None,
    schedule: flags.ScheduleOption = None,
    schedule_epochs: flags.ScheduleEpochsOption = None,
    schedule_factor: flags.ScheduleFactorOption = None,
    l1: flags.L1Option = None,
    weight_decay: flags.WeightDecayOption = None,
    grad_clip: flags.GradClipOption = None,
    ema_decay: flags.EmaDecayOption = None,
    loss: flags.LossOption = None,
    focal_gamma: flags.FocalGammaOption = None,
    label_smoothing: flags.LabelSmoothingOption = None,
    balance: flags.BalanceOption = None,
    augment: flags.AugmentOption = None,
    augment_strength: flags.AugmentStrengthOption = None,
    mixup: flags.MixupOption = None,
    noise_only: flags.NoiseOnlyOption = None,
    oversample: flags.OversampleOption = None,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    encoder: flags.EncoderOption = None,
    unfreeze: flags.UnfreezeOption = False,
    dropout: flags.DropoutOption = None,
    norm: flags.NormOption = None,
    activation: flags.ActivationOption = None,
    recurrent: flags.RecurrentOption = None,
    layers: flags.LayersOption = None,
    hidden: flags.HiddenOption = None,
    bidirectional: flags.BidirectionalOption = None,
    width: flags.WidthOption = None,
    precision: flags.PrecisionOption = None,
    compile_network: flags.CompileOption = None,
    shards: flags.ShardsOption = None,
    checkpoint_mirror: flags.CheckpointMirrorOption = None,
) -> None:
    """Train a network; writes checkpoints, metrics, learning curves and a confusion matrix.

    A flag that is not given is the network's own choice.

    Several processes: torchrun --nproc-per-node 2 --no-python earful train ...
    """
    flag_values = locals()
    from earful.training.api.train import train as train_network

    settings = _read_settings(flag_values, out, setting or [])
    labelling = csv_options(audio_dir, columns, label_separator)
    resume_command = _resume_command(dataset, out, extra, negatives, teacher, checkpoint_mirror)
    resume_command += csv_flags(labelling)
    try:
        result = train_network(
            dataset,
            out,
            **vars(labelling),
            epochs=epochs,
            device=device,
            resume=resume,
            extra=extra,
            negatives=negatives,
            teacher=teacher,
            checkpoint_mirror=checkpoint_mirror,
            tensorboard=tensorboard,
            progress=True,
            encoder=encoder,
            unfreeze=unfreeze,
            **settings,
        )
    except KeyboardInterrupt as error:
        raise _interrupted(out, resume_command) from error
    except (OutputError, OSError, MemoryError):
        _print_kept(out, resume_command)
        raise
    if result.metrics:  # the first of several processes
        _print_run(result, resume_command)


def _read_settings(params: Mapping[str, Any], out: Path, texts: list[str]) -> dict[str, Any]:
    """What flags and ``--set`` give.

    Raises:
        TrainingError: an unknown setting, a value that it cannot have, or one given twice.
    """
    from earful.training.api.train import choose_encoder
    from earful.training.config.overrides import parse_settings
    from earful.training.config.train_config import TrainConfig, TrainingError
    from earful.training.contest.settings import AUTO
    from earful.training.runs.train_run import find_resume_config

    settings = {name: params[name] for name in _SETTINGS if params[name] is not None}
    for name in ("model", "compile"):
        value = params["compile_network" if name == "compile" else name]
        settings |= {} if value is None else {name: value}
    if not texts:
        return settings
    resumed = find_resume_config(out, params["checkpoint_mirror"]) if params["resume"] else None
    chosen = choose_encoder(settings.get("model"), params["encoder"], unfreeze=params["unfreeze"])
    model = str(chosen.get("model") or (resumed or TrainConfig()).model)
    if model == AUTO:
        model = TrainConfig().model
    given = parse_settings(model, texts, "--set", ("model", "epochs"))
    twice = sorted(set(given) & set(settings))
    if twice:
        raise TrainingError(f"{', '.join(twice)} is given twice: by its flag and by --set")
    return settings | given


def _interrupted(out: Path, resume_command: list[object]) -> typer.Exit:
    from earful.training.trainer.checkpoint import LAST_CHECKPOINT

    if not (out / LAST_CHECKPOINT).is_file():
        return interrupted("no epoch was finished, so nothing is kept")
    return interrupted(f"{out} keeps all finished epochs", resume_command)


def _print_kept(out: Path, resume_command: list[object]) -> None:
    """After an error of the disk or the memory: how to continue, if an epoch was finished."""
    from earful.training.trainer.checkpoint import LAST_CHECKPOINT

    if (out / LAST_CHECKPOINT).is_file():
        echo(f"{out} keeps all finished epochs; once there is room, continue with:", err=True)
        echo(format_command(resume_command), err=True)


def _resume_command(
    dataset: Path,
    out: Path,
    extra: Path | None,
    negatives: Path | None,
    teacher: str | None,
    checkpoint_mirror: str | None,
) -> list[object]:
    command: list[object] = ["train", dataset, "--out", out, "--resume"]
    optional = (
        ("--extra", extra),
        ("--negatives", negatives),
        ("--teacher", teacher),
        ("--checkpoint-mirror", checkpoint_mirror),
    )
    for flag, value in optional:
        command += [] if value is None else [flag, value]
    return command


def _print_run(result: "TrainResult", resume_command: list[object]) -> None:
    if result.contest is not None:
        echo(result.contest.table())
        echo(result.contest.reason())
    for line in run_summary(result.metrics, result.run):
        echo(line)
    sys.stdout.flush()
    if result.still_improving and result.epochs > 1:
        _print_more_epochs(result, resume_command)
    if result.accuracy is None:
        print_next(("map", result.dataset, "--run", result.run))
    else:
        print_next(("export", result.run, "--out", "model.onnx"), ("report", result.run))


def _print_more_epochs(result: "TrainResult", resume_command: list[object]) -> None:
    from earful.training.config.train_config import LENGTH_DEPENDENT_SCHEDULES

    more = 2 * result.epochs
    if result.config.schedule in LENGTH_DEPENDENT_SCHEDULES:
        echo(f"the last epoch is the best: a new run with --epochs {more} may be better", err=True)
        return
    echo("still improving at the last epoch; more epochs may help:", err=True)
    echo(format_command([*resume_command, "--epochs", more]), err=True)


def run_summary(metrics: Mapping[str, Any], run: Path) -> list[str]:
    """Network, best epoch and quality of a run, a line each of at most 80 columns."""
    split_name = "test" if metrics["test"] else "validation"
    split_metrics = metrics[split_name]
    return [
        f"{run}: {metrics['model']} on {metrics['features']}, {metrics['parameters']:,} parameters",
        f"best epoch {metrics['best_epoch']} of {metrics['epochs']}, "
        f"{metrics['training_seconds']:.0f} s on {metrics['device']}",
        f"{split_name} {_format_quality(split_metrics)}, {split_metrics['clips']} clips, "
        f"{metrics['split_mode']} split",
    ]


def _format_quality(metrics: Mapping[str, Any]) -> str:
    if "accuracy" not in metrics:
        return (
            f"reconstruction error {metrics['reconstruction_error']:.4f} "
            f"({100 * metrics['explained_variance']:.1f} % of the variance explained)"
        )
    low, high = (100 * bound for bound in metrics["accuracy_ci95"])
    return f"accuracy {100 * metrics['accuracy']:.2f} % ({low:.1f} to {high:.1f})"
