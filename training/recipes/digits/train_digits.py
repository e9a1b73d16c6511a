"""Train the two digit models that ship with the package.

    uv run --with ttspico python -m earful.training.recipes.digits.train_digits \\
        --fsdd FSDD --voices VOICES --out OUT

OUT/digits.onnx is the speech encoder (``models.networks.encoder``), fine-tuned three times, with
the mean of the weights; OUT/digits-small.onnx is a ``tcresnet`` that learns its answers. Both learn
recordings of 1,474 people (``training.recipes.digits.recordings``) and synthetic voices
(``training.recipes.digits.voices``), and that other words and noise are no digit. The official test
recordings of FSDD are neither trained on nor mixed in as noise. The same seed gives the same
weights on the same kind of machine.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.speak_words import write_synthetic_clips
from earful.service.classifier import Classifier
from earful.service.core.echo import echo
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.export.export import export
from earful.training.export.rejection_threshold import write_rejection_threshold
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.loaders.teacher import Teacher
from earful.training.recipes.digits.recordings import (
    prepare_once,
    read_all,
    read_digits,
    read_negatives,
    repeat_rare_digits,
    write_list,
)
from earful.training.recipes.digits.spoken_word import RATE_HZ, SEED
from earful.training.recipes.digits.voices import write_voices
from earful.training.runs.average_runs import average_runs
from earful.training.runs.progress import training_progress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import METRICS_FILENAME, Checkpoint
from earful.training.trainer.setup import initial_checkpoint, training_loader

# A dataset and the rows of some of its clips.
Strangers = tuple[Dataset, NDArray[np.int64]]
# Chosen by accuracy on recordings that nothing was trained on (models/pretrained/digits.md).
DIGITS = replace(
    default_config("encoder-finetuned"),
    epochs=6,
    patience=6,
    oversample=2,
    augment_strength="mild",
    noise_only=0.03,
    precision="bfloat16",
)
# Seed and relative rate of the encoder of the runs whose weights are averaged.
RUNS = ((42, 0.1), (43, 0.15), (44, 0.2))
SMALL = replace(
    default_config("tcresnet"),
    # A narrower network than the default, which takes more epochs to learn as much.
    options={"stem": (16, 16), "width": 48, "channels": (48, 64, 112)},
    epochs=36,
    patience=36,
    batch_size=128,
    learning_rate=4e-3,
    oversample=2,
    augment_strength="mild",
    mixup=0.3,
    noise_only=0.03,
    label_smoothing=0.0,
    precision="bfloat16",
)
# The encoder learns one synthetic clip in three: more add time and no accuracy on real voices.
SYNTHETIC_SHARE = 3
# ``--reject`` may lose this share of the strangers' digits that are predicted correctly.
LOST_SHARE = 0.01
# Out-of-vocabulary words that sound like no digit in any accent.
NEGATIVE_WORDS = (
    "yes no stop go left right up down on off cat dog house happy hello computer music light play "
    "pause open close monday table water window please thanks again morning"
)
NEGATIVE_VOICES = 40


def main(
    fsdd: Annotated[Path, typer.Option(help="Folder with recordings/ and labels_full.csv.")],
    voices: Annotated[
        Path, typer.Option(help="Folder with digits/, words/, noises/ and digits_dev/.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for clips, datasets, runs and models.")],
) -> None:
    """Train and export the shipped digit models into OUT, or resume an interrupted run there.

    Synthetic clips and datasets are not written again: remove their folders after a change.
    """
    _check_folders(fsdd, voices)
    recorded, negatives = _recorded_digits(fsdd, voices, out), _negatives(voices, out)
    third, all_synthetic = (_synthetic_digits(out, share) for share in (SYNTHETIC_SHARE, 1))
    accents = prepare_once(
        read_labels(voices / "digits_dev" / "labels.csv"), out / "accents", "random"
    )
    # Speakers of India choose the threshold only: they are never trained on.
    strangers = (recorded, recorded.rows("val")), (accents, np.arange(len(accents.clips)))
    _train_digits(recorded, AuxiliaryData(third, negatives), out / "digits")
    digits = _export(out / "digits", strangers)
    taught = AuxiliaryData(all_synthetic, negatives, Teacher.open(str(digits)))
    _train(recorded, SMALL, taught, out / "digits-small")
    _export(out / "digits-small", strangers)


def _check_folders(fsdd: Path, voices: Path) -> None:
    """Before the synthesis of ten minutes.

    Raises:
        EarfulError: a labels CSV is missing.
    """
    needed = [fsdd / "labels_full.csv"]
    needed += [voices / name / "labels.csv" for name in ("digits", "words", "noises", "digits_dev")]
    for labels_csv in needed:
        if not labels_csv.is_file():
            raise EarfulError(
                f"there is no {labels_csv}; training/recipes/digits/recordings.py says what the "
                "folders hold"
            )


def _train_digits(dataset: Dataset, auxiliary: AuxiliaryData, run: Path) -> None:
    """The mean of ``RUNS``, which start from the same weights."""
    loader = training_loader(dataset, auxiliary, DIGITS, torch.device("cpu"))
    start = initial_checkpoint(dataset, loader, auxiliary.content_hash(dataset), DIGITS)
    runs = []
    for seed, rate in RUNS:
        config = replace(DIGITS, seed=seed, options={"encoder_rate": rate})
        runs.append(_train(dataset, config, auxiliary, run.with_name(f"{run.name}-{seed}"), start))
    if not (run / METRICS_FILENAME).is_file():  # written last
        average_runs(runs, dataset, run)


def _train(
    dataset: Dataset,
    config: TrainConfig,
    auxiliary: AuxiliaryData,
    run: Path,
    start: Checkpoint | None = None,
) -> Path:
    echo(f"training {run}", err=True)
    with training_progress(config.epochs) as progress:
        train_run(
            dataset,
            run,
            config,
            auxiliary=auxiliary,
            start=start,
            resume=True,
            progress=progress,
        )
    return run


def _export(run: Path, strangers: Sequence[Strangers]) -> Path:
    """Export a run as a file beside it, with the rejection threshold for ``strangers``."""
    exported = export(run, run.parent / f"{run.name}.onnx")
    threshold = _rejection_threshold(exported.path, strangers)
    write_rejection_threshold(exported.path, threshold)
    metrics = exported.metadata.metrics
    echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, rejects scores below "
        f"{threshold:.3f}; {_percent(metrics['validation'])} of strangers' digits, "
        f"{_percent(metrics['test'])} of the official test recordings"
    )
    return exported.path


def _percent(part: dict[str, float]) -> str:
    return f"{100 * part['accuracy']:.2f} % ({part['clips']} clips)"


def _rejection_threshold(model: Path, strangers: Sequence[Strangers]) -> float:
    """The threshold that loses ``LOST_SHARE`` of the correctly predicted clips."""
    classifier, found = Classifier.open(model), []
    for dataset, rows in strangers:
        scores = classifier.run(np.ascontiguousarray(dataset.waveforms(rows), np.float32))
        found.append(scores.max(1)[scores.argmax(1) == dataset.targets[rows]])
    return float(np.quantile(np.concatenate(found), LOST_SHARE))


def _recorded_digits(fsdd: Path, voices: Path, out: Path) -> Dataset:
    return repeat_rare_digits(prepare_once(read_digits(fsdd, voices), out / "recordings", "column"))


def _negatives(voices: Path, out: Path) -> Dataset:
    """Other words, of people and synthetic, and noises; writes the lists of those left out."""
    recorded = read_negatives(voices)
    write_list(recorded.held_out_words, out / "held-out-words.csv")
    write_list(recorded.held_out_noises, out / "held-out-noises.csv")
    synthetic_csv = out / "negatives" / "clips" / "labels.csv"
    if not synthetic_csv.is_file():
        echo(f"writing synthetic words to {synthetic_csv.parent}", err=True)
        write_synthetic_clips(
            NEGATIVE_WORDS.split(),
            synthetic_csv.parent,
            voices=NEGATIVE_VOICES,
            repetitions=1,
            seed=SEED,
            sample_rate_hz=RATE_HZ,
        )
    words = tuple(replace(clip, label="word") for clip in read_all(synthetic_csv))
    both = replace(recorded.train, clips=recorded.train.clips + words)
    return prepare_once(both, out / "negatives" / "dataset", "random")


def _synthetic_digits(out: Path, share: int) -> Dataset:
    """One synthetic clip in ``share``.

    Raises:
        EarfulError: an engine or a voice is missing.
    """
    labels_csv = out / "synthetic" / "clips" / "labels.csv"
    if not labels_csv.is_file():
        echo(f"writing synthetic digits to {labels_csv.parent}", err=True)
        write_voices(labels_csv.parent)
    clips = read_labels(labels_csv)
    drawn = np.random.default_rng(SEED).permutation(len(clips.clips))[::share]
    some = tuple(clips.clips[i] for i in sorted(drawn.tolist()))
    return prepare_once(replace(clips, clips=some), out / "synthetic" / f"one-in-{share}", "random")


if __name__ == "__main__":
    try:
        typer.run(main)
    except EarfulError as error:
        echo(f"training.recipes.digits.train_digits: {error}", err=True)
        sys.exit(2)
