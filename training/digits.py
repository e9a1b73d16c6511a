"""Make the digit model that ships with the package: one command, the same file for the same seed.

    uv run python -m training.digits --fsdd ../shared/fsdd --out artifacts/digits

It trains on the official training part of the Free Spoken Digit Dataset and on synthetic voices
(``training.voices``). The official test recordings are neither trained on nor mixed in as noise.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data.dataset import Dataset, open_dataset
from data.features import FeatureConfig
from data.labels import read_labels
from data.prepare import prepare
from data.synthesise import write_clips
from training.company import Company
from training.config import default_config
from training.export import export
from training.progress import training_progress
from training.run import train_run
from training.voices import RATE_HZ, SEED, write_voices

MODEL = "tcresnet"
EPOCHS = 24
# The recordings of real people, a fifth of the clips, are heard more often than synthetic ones.
REPEATS = 2
# What is to be answered with "unknown": words that no accent takes for a digit.
OTHER_WORDS = (
    "yes no stop go left right up down on off cat dog house happy hello computer music light play "
    "pause open close monday table water window please thanks again morning"
)
OTHER_VOICES = 12


def main(
    fsdd: Annotated[Path, typer.Option(help="Folder with recordings/ and labels_full.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for voices, datasets, run and model.onnx.")],
) -> None:
    """Train and export the shipped digit model into OUT."""
    company = Company(speak_digits(out / "voices"), speak_other_words(out / "others"))
    recordings = read_labels(fsdd / "labels_full.csv", fsdd / "recordings")
    features = FeatureConfig.for_rate(RATE_HZ)
    prepare(recordings, out / "fsdd", features=features, split="column")
    config = replace(default_config(MODEL), epochs=EPOCHS, repeats=REPEATS)
    with training_progress(config.epochs) as progress:
        metrics = train_run(
            open_dataset(out / "fsdd"), out / "run", config, company=company, resume=True,
            progress=progress,
        )  # fmt: skip
    exported = export(out / "run", out / "model.onnx")
    typer.echo(
        f"{exported.path}: {exported.bytes / 1e6:.2f} MB, official test "
        f"{100 * metrics['test']['accuracy']:.2f} % of {metrics['test']['clips']}"
    )


def speak_digits(out: Path) -> Dataset:
    """Speak and prepare the synthetic clips, unless ``out`` holds them already.

    Raises:
        EarshotError: an engine or a voice is missing.
    """
    if not (out / "dataset" / "dataset.json").is_file():
        typer.echo("speaking", err=True)
        labels_csv = write_voices(out / "clips")
        features = FeatureConfig.for_rate(RATE_HZ)
        prepare(read_labels(labels_csv), out / "dataset", features=features, split="random")
    return open_dataset(out / "dataset")


def speak_other_words(out: Path) -> Dataset:
    """Speak and prepare words that are no digits, unless ``out`` holds them already.

    Raises:
        EarshotError: espeak-ng is missing.
    """
    if not (out / "dataset" / "dataset.json").is_file():
        labels_csv = write_clips(
            OTHER_WORDS.split(), out / "clips", voices=OTHER_VOICES, takes=1, seed=SEED,
            sample_rate_hz=RATE_HZ,
        )  # fmt: skip
        features = FeatureConfig.for_rate(RATE_HZ)
        prepare(read_labels(labels_csv), out / "dataset", features=features, split="random")
    return open_dataset(out / "dataset")


if __name__ == "__main__":
    typer.run(main)
