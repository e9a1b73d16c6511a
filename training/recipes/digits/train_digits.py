"""Train the digit model that ships with the package.

    uv run --with ttspico python -m earful.training.recipes.digits.train_digits \\
        --fsdd FSDD --out OUT

It trains on the official training part of the Free Spoken Digit Dataset and on synthetic voices
(``training.recipes.digits.voices``). The official test recordings are neither trained on nor mixed
in as noise. The same seed gives the same weights on the same kind of machine.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.speak_words import write_synthetic_clips
from earful.training.config.train_config import default_config
from earful.training.export.export import export
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.recipes.digits.spoken_word import RATE_HZ, SEED
from earful.training.recipes.digits.voices import write_voices
from earful.training.runs.progress import training_progress
from earful.training.runs.train_run import train_run

MODEL = "tcresnet"
EPOCHS = 20
BATCH_SIZE = 128
# Real recordings are few, and more useful than synthetic ones.
OVERSAMPLE = 10
# Out-of-vocabulary words that sound like no digit in any accent.
NEGATIVE_WORDS = (
    "yes no stop go left right up down on off cat dog house happy hello computer music light play "
    "pause open close monday table water window please thanks again morning"
)
NEGATIVE_VOICES = 40


def main(
    fsdd: Annotated[Path, typer.Option(help="Folder with recordings/ and labels_full.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for voices, datasets, run and model.onnx.")],
) -> None:
    """Train and export the shipped digit model into OUT, or resume an interrupted run there.

    Synthetic clips are not written again: remove OUT/voices and OUT/negatives after changing them.
    """
    recordings = read_labels(fsdd / "labels_full.csv", fsdd / "recordings")
    auxiliary = AuxiliaryData(
        _synthesized_dataset(out / "voices", write_voices),
        _synthesized_dataset(out / "negatives", _write_negative_words),
    )
    prepare(recordings, out / "fsdd", features=FeatureConfig.for_rate(RATE_HZ), split="column")
    config = replace(
        default_config(MODEL),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        oversample=OVERSAMPLE,
        augment_strength="strong",
    )
    dataset = open_dataset(out / "fsdd")
    with training_progress(config.epochs) as progress:
        metrics = train_run(
            dataset, out / "run", config, auxiliary=auxiliary, resume=True, progress=progress
        )
    exported = export(out / "run", out / "model.onnx")
    typer.echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, accuracy on the official test part "
        f"{100 * metrics['test']['accuracy']:.2f} % ({metrics['test']['clips']} clips)"
    )


def _synthesized_dataset(out: Path, synthesize: Callable[[Path], Path]) -> Dataset:
    """The dataset of the clips that ``synthesize`` writes into a folder; written only once.

    Raises:
        EarfulError: an engine or a voice is missing.
    """
    dataset = out / "dataset"
    if not (dataset / "dataset.json").is_file():
        typer.echo(f"writing synthetic clips to {out}", err=True)
        clips = read_labels(synthesize(out / "clips"))
        prepare(clips, dataset, features=FeatureConfig.for_rate(RATE_HZ), split="random")
    return open_dataset(dataset)


def _write_negative_words(out: Path) -> Path:
    return write_synthetic_clips(
        NEGATIVE_WORDS.split(),
        out,
        voices=NEGATIVE_VOICES,
        repetitions=1,
        seed=SEED,
        sample_rate_hz=RATE_HZ,
    )


if __name__ == "__main__":
    try:
        typer.run(main)
    except EarfulError as error:
        typer.echo(f"training.recipes.digits.train_digits: {error}", err=True)
        sys.exit(2)
