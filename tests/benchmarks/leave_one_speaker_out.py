"""The digit model's network on each speaker of FSDD that it was not trained on, in turn.

    uv run python -m tests.benchmarks.leave_one_speaker_out --fsdd $FSDD --voices $VOICES \\
        --synthetic artifacts/digits/synthetic/clips/labels.csv --out artifacts/loso

Each fold learns the other five speakers, the digits of VOICES and a third of the synthetic digits,
which ``training.recipes.digits.train_digits`` writes. Finished folds stay: an interrupted command
goes on where it stopped.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import LabelledClips, read_labels
from earful.data.labels.splits import SplitMode
from earful.training.evaluation.crossval import cross_validate
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.recipes.digits.spoken_word import RATE_HZ
from earful.training.recipes.digits.train_digits import DIGITS, SYNTHETIC_SHARE
from earful.training.runs.progress import TrainingProgress, training_progress

CONFIG = replace(DIGITS, epochs=5, patience=5, options={"encoder_rate": 0.15})


def main(
    fsdd: Annotated[Path, typer.Option(help="Folder with recordings/ and labels_full.csv.")],
    voices: Annotated[Path, typer.Option(help="Folder with digits/.")],
    synthetic: Annotated[Path, typer.Option(help="Labels CSV of synthetic digits.")],
    out: Annotated[Path, typer.Option(help="Folder for datasets and folds.")],
) -> None:
    """Print the accuracy of each fold, the mean and the least."""
    official = read_labels(fsdd / "labels_full.csv", fsdd / "recordings")
    people = read_labels(voices / "digits" / "labels.csv")
    spoken = read_labels(synthetic).clips[::SYNTHETIC_SHARE]
    more = replace(people, clips=people.clips + spoken)
    dataset = _dataset(official, out / "fsdd", "speaker")
    auxiliary = AuxiliaryData(extra=_dataset(more, out / "more", "random"))
    with training_progress(CONFIG.epochs) as progress:
        result = cross_validate(
            dataset,
            out,
            CONFIG,
            auxiliary=auxiliary,
            on_fold=lambda name, number, folds: _announce(name, progress),
        )
    typer.echo(result.text())


def _announce(name: str, progress: TrainingProgress) -> TrainingProgress:
    typer.echo(f"without {name}", err=True)
    return progress


def _dataset(clips: LabelledClips, out: Path, split: SplitMode) -> Dataset:
    if not (out / "dataset.json").is_file():
        prepare(clips, out, features=FeatureConfig.for_rate(RATE_HZ), split=split)
    return open_dataset(out)


if __name__ == "__main__":
    typer.run(main)
