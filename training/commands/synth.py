"""``earful synth``: clips of words by synthetic voices."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import keep_on_interrupt, print_next
from earful.service.core.echo import echo


def synth(
    words: Annotated[
        str, typer.Option(help="Words, comma-separated; LABEL=TEXT where they differ (7=seven).")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write: clips and labels.csv.")
    ],
    voices: Annotated[int, typer.Option(min=1, help="Number of voices.")] = 60,
    repetitions: Annotated[int, typer.Option(min=1, help="Clips per voice and word.")] = 3,
    sample_rate: Annotated[int, typer.Option(min=4000, max=192000, help="Hz.")] = 16000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of voices, rates and pitches.")] = 42,
    languages: Annotated[
        str | None,
        typer.Option(
            help="Languages of espeak-ng, comma-separated (fr-fr,de). (default: English accents)"
        ),
    ] = None,
) -> None:
    """Speak words with synthetic voices, to train a classifier without a recording."""
    from earful.data.synthesis.speak_words import ENGLISH_ACCENTS, write_synthetic_clips
    from earful.training.runs.progress import work_progress

    utterances = [word.strip() for word in words.split(",")]
    accents = [name.strip() for name in languages.split(",")] if languages else ENGLISH_ACCENTS
    with keep_on_interrupt("nothing was written"), work_progress("speak") as on_progress:
        labels_csv = write_synthetic_clips(
            utterances,
            out,
            voices=voices,
            repetitions=repetitions,
            seed=seed,
            sample_rate_hz=sample_rate,
            languages=accents,
            progress=on_progress,
        )
    echo(f"{labels_csv}: {len(utterances)} words, {voices} voices, {repetitions} clips each")
    print_next(("prepare", labels_csv, "--out", "DATASET"))
