"""The commands of data and training, from ``check`` to ``demo``.

Importing this module is cheap and needs no training package: each command imports what it runs.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data.errors import EarshotError
from models.device import Device
from service.cli import EXIT_SOME_FAILED, EngineOption, RayAddressOption, check_engine

if TYPE_CHECKING:
    from data.features import FeatureConfig
    from data.prepare import Prepared

LabelsArgument = Annotated[Path, typer.Argument(metavar="LABELS.csv", help="Labels CSV.")]
AudioDirOption = Annotated[
    Path | None, typer.Option(help="Folder of relative file names; the CSV's own without it.")
]
SplitOption = Annotated[
    Literal["random", "speaker", "column"] | None,
    typer.Option(help="Who is tested on; the most honest one that the columns allow without it."),
]
ExtraOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Clips to train on besides, synthetic ones say."),
]
OthersOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Clips of other words, to be answered with no label."),
]
DeviceOption = Annotated[
    Device,
    typer.Option(help="Where to train; auto takes CUDA if there is one."),
]


def add_training_commands(app: typer.Typer) -> None:
    """Put the commands on the ``earshot`` command line."""
    for command in (
        check,
        prepare,
        synth,
        train,
        crossval,
        compare,
        export,
        evaluate,
        report,
        demo,
    ):
        app.command()(command)


def check(
    labels_csv: LabelsArgument,
    audio_dir: AudioDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Read the CSV and every file it names, and list all that is wrong."""
    from data.checks import check_labels
    from training.progress import work_progress

    with work_progress("check") as on_progress:
        report = check_labels(labels_csv, audio_dir, on_progress)
    typer.echo(
        json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else report.text()
    )
    if report.problems:
        raise typer.Exit(EXIT_SOME_FAILED)


def prepare(
    labels_csv: LabelsArgument,
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    audio_dir: AudioDirOption = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows and files out, and list them.")
    ] = False,
    split: SplitOption = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=4000,
            max=192000,
            help="Hz; the commonest of the files, at most 16000, without it.",
        ),
    ] = None,
    clip_seconds: Annotated[
        float, typer.Option(help="Seconds that the network sees at once.")
    ] = 1.0,
    n_fft: Annotated[
        int | None, typer.Option(help="Samples of a transform; 32 ms without it.")
    ] = None,
    win_length: Annotated[
        int | None, typer.Option(help="Samples of a window; n_fft without it.")
    ] = None,
    hop_length: Annotated[
        int | None, typer.Option(help="Samples; half a window without it.")
    ] = None,
    n_mels: Annotated[int | None, typer.Option(help="Mel bands.")] = None,
    n_mfcc: Annotated[int | None, typer.Option(help="Cepstral coefficients.")] = None,
    f_min: Annotated[
        float | None, typer.Option(help="Hz, lower edge of the first mel band.")
    ] = None,
    f_max: Annotated[
        float | None, typer.Option(help="Hz, upper edge of the last mel band.")
    ] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
) -> None:
    """Turn labels and audio into MFCC and log-mel tensors on disk."""
    check_engine(engine, ray_address)
    from data.clips import measure_clips
    from data.cluster import measure_on_ray
    from data.labels import read_labels
    from data.prepare import commonest_rate
    from data.prepare import prepare as prepare_dataset
    from training.progress import work_progress

    labelled = read_labels(labels_csv, audio_dir)
    rate_hz = commonest_rate(labelled.clips) if sample_rate is None else sample_rate
    given = {
        "n_fft": n_fft, "win_length": win_length, "hop_length": hop_length, "n_mels": n_mels,
        "n_mfcc": n_mfcc, "f_min_hz": f_min, "f_max_hz": f_max,
    }  # fmt: skip
    features = _features(rate_hz, clip_seconds, {k: v for k, v in given.items() if v is not None})
    measure = partial(measure_on_ray, address=ray_address) if engine == "ray" else measure_clips
    with work_progress("prepare") as on_progress:
        prepared = prepare_dataset(
            labelled, out, features=features, split=split, skip_bad=skip_bad,
            measure=measure, progress=on_progress,
        )  # fmt: skip
    _tell_prepared(prepared)
    if prepared.skipped:
        raise typer.Exit(EXIT_SOME_FAILED)


def synth(
    words: Annotated[
        str, typer.Option(help="Words, comma-separated; LABEL=TEXT where they differ (7=seven).")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: clips and labels.csv.")],
    voices: Annotated[int, typer.Option(min=1, help="Different voices.")] = 60,
    takes: Annotated[int, typer.Option(min=1, help="Times that each voice says a word.")] = 3,
    sample_rate: Annotated[int, typer.Option(min=4000, max=192000, help="Hz.")] = 16000,
    seed: Annotated[int, typer.Option(min=0, help="Of voices, rates and pitches.")] = 42,
    languages: Annotated[
        str | None,
        typer.Option(help="Of espeak-ng, comma-separated (fr-fr,de); English accents without it."),
    ] = None,
) -> None:
    """Let synthetic voices speak your words: train a classifier without a single recording."""
    from data.synthesise import ENGLISH_ACCENTS, write_clips
    from training.progress import work_progress

    spoken = [word.strip() for word in words.split(",")]
    accents = [name.strip() for name in languages.split(",")] if languages else ENGLISH_ACCENTS
    with work_progress("speak") as on_progress:
        labels_csv = write_clips(
            spoken, out, voices=voices, takes=takes, seed=seed, sample_rate_hz=sample_rate,
            languages=accents, progress=on_progress,
        )  # fmt: skip
    typer.echo(f"{labels_csv}: {len(spoken)} words, {voices} voices, {takes} takes each")


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    model: Annotated[
        str | None, typer.Option(help="cnn, crnn, bcresnet or tcresnet. (default: cnn)")
    ] = None,
    features: Annotated[
        Literal["mfcc", "log_mel"] | None,
        typer.Option(help="What the network sees. (default: what suits it best)"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs at most. (default: cnn 150, crnn 30, the others 40)")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step. (default: 64)")] = None,
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
    """Train a network on a dataset; leaves checkpoints, metrics, curves and a confusion matrix."""
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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
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
        str | None, typer.Option(help="Networks, comma-separated; all of them without it.")
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
    from models.zoo import ZOO
    from training.company import open_company
    from training.compare import compare as compare_networks
    from training.compare import table
    from training.progress import TrainingProgress, describe

    names = list(ZOO) if models is None else [name.strip() for name in models.split(",")]
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


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file.")],
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
    noise: Annotated[
        bool, typer.Option("--noise", help="Again in noise of each kind, at 20 to 0 dB.")
    ] = False,
    noise_dir: Annotated[
        Path | None, typer.Option(help="Recorded noise for --noise, besides the kinds it makes.")
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Clips of other words: does --reject refuse them?"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for a report.")] = None,
) -> None:
    """Measure a model file on labelled recordings, the way it will be used."""
    from training.evaluate import evaluate_model, write_evaluation
    from training.progress import work_progress

    with work_progress("evaluate") as on_progress:
        result = evaluate_model(
            model, labels_csv, audio_dir, split=split, noise=noise, noise_dir=noise_dir,
            others_csv=others,
            progress=on_progress,
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


def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="What `earshot classify --out` wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; RESULTS with .html without it.")
    ] = None,
    clips: Annotated[
        int, typer.Option(min=0, max=500, help="How many clips of each kind can be heard.")
    ] = 24,
    audio_dir: Annotated[
        Path | None, typer.Option(help="Folder of relative names; the working folder without it.")
    ] = None,
) -> None:
    """Look at results: one HTML file with counts, scores, doubtful clips and what failed."""
    from training.results_report import write_results_report

    place = out or results.with_suffix(".html")
    found = write_results_report(results, place, clips=clips, audio_dir=audio_dir)
    typer.echo(f"{place}: {found.rows:,} rows of {found.files:,} files", err=True)


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Your own clips; spoken digits without it."),
    ] = None,
    words: Annotated[
        str | None, typer.Option(help="Your own words, comma-separated, without a recording.")
    ] = None,
    audio_dir: AudioDirOption = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path(
        "artifacts/demo"
    ),
    run_server: Annotated[
        bool, typer.Option("--serve", help="Serve the model at the end.")
    ] = False,
) -> None:
    """The whole way in about a minute: data, training, evaluation, export, a classified file."""
    from training.demo import WORDS, run_demo

    if words is not None and data is not None:
        raise EarshotError("--data trains on recordings and --words on synthetic voices; give one")
    spoken = WORDS if words is None else tuple(word.strip() for word in words.split(","))
    if len(spoken) < 2:
        raise EarshotError("--words needs two words or more to tell apart, comma-separated")
    model = run_demo(data, audio_dir, out, spoken)
    if run_server:
        from service.server import run_server as serve_model

        serve_model(model, "127.0.0.1", 8000, "cpu")


def _features(rate_hz: int, clip_seconds: float, given: dict[str, Any]) -> "FeatureConfig":
    """The defaults at this rate with what was given put in; what follows from n_fft follows."""
    import dataclasses

    from data.features import FeatureConfig

    if rate_hz < 1 or not clip_seconds > 0:
        raise EarshotError("--sample-rate and --clip-seconds must be above 0")
    defaults = FeatureConfig.for_rate(rate_hz, clip_seconds)
    if "n_fft" in given:
        given.setdefault("win_length", given["n_fft"])
    if "win_length" in given:
        given.setdefault("hop_length", max(1, given["win_length"] // 2))
    if "n_mels" in given:
        given.setdefault("n_mfcc", min(defaults.n_mfcc, given["n_mels"]))
    return dataclasses.replace(defaults, **given)


def _tell_prepared(prepared: "Prepared") -> None:
    parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
    features = prepared.features
    typer.echo(
        f"{prepared.folder}: {prepared.clips} clips, {len(prepared.labels)} labels, {parts} "
        f"({prepared.split_mode} split); {features.sample_rate_hz} Hz, "
        f"{features.clip_seconds:g} s, MFCC {features.n_mfcc} x {features.frames}, "
        f"log-mel {features.n_mels} x {features.frames}"
    )
    for note in prepared.notes():
        typer.echo(f"note: {note}", err=True)


def _tell_trained(metrics: dict[str, Any], run: Path) -> None:
    part = "test" if metrics["test"] else "validation"
    found = metrics[part]
    low, high = (100 * bound for bound in found["accuracy_ci95"])
    typer.echo(
        f"{run}: {metrics['model']} on {metrics['features']}, "
        f"{metrics['parameters']:,} parameters, "
        f"best epoch {metrics['best_epoch']} of {metrics['epochs']}, "
        f"{metrics['training_seconds']:.0f} s on {metrics['device']}"
    )
    typer.echo(
        f"{part} accuracy {100 * found['accuracy']:.2f} % ({low:.1f} to {high:.1f}), "
        f"{found['clips']} clips, {metrics['split_mode']} split"
    )
    sys.stdout.flush()
