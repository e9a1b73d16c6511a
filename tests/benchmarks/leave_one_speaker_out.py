"""The digit model's network on each speaker of FSDD that it was not trained on, in turn.

    uv run python -m tests.benchmarks.leave_one_speaker_out --fsdd $FSDD --voices $VOICES \\
        --synthetic artifacts/digits/synthetic/clips/labels.csv --out artifacts/loso

Each fold learns the other five speakers, the digits of VOICES and a third of the synthetic digits,
which ``training.recipes.digits.train_digits`` writes: a run of its network, shorter and without
negatives, not the mean of several runs. Finished folds stay: an interrupted command
goes on where it stopped.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.service.core.echo import echo
from earful.training.evaluation.crossval import cross_validate
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.recipes.digits.recordings import prepare_once, read_all
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
    official = read_labels(fsdd / "labels_full.csv", CsvOptions(fsdd / "recordings"))
    people = read_labels(voices / "digits" / "labels.csv")
    spoken = read_all(synthetic)[::SYNTHETIC_SHARE]
    more = replace(people, clips=people.clips + spoken)
    dataset = prepare_once(official, out / "fsdd", "speaker")
    auxiliary = AuxiliaryData(extra=prepare_once(more, out / "more", "random"))
    with training_progress(CONFIG.epochs) as progress:
        result = cross_validate(
            dataset,
            out,
            CONFIG,
            auxiliary=auxiliary,
            on_fold=lambda name, number, folds: _announce(name, progress),
        )
    echo(result.text())


def _announce(name: str, progress: TrainingProgress) -> TrainingProgress:
    echo(f"without {name}", err=True)
    return progress


if __name__ == "__main__":
    typer.run(main)
