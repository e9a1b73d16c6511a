"""``earful synth``: clips of words by synthetic voices."""

from pathlib import Path
from typing import Annotated

import typer


def synth(
    words: Annotated[
        str, typer.Option(help="Words, comma-separated; LABEL=TEXT where they differ (7=seven).")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: clips and labels.csv.")],
    voices: Annotated[int, typer.Option(min=1, help="Different voices.")] = 60,
    repetitions: Annotated[int, typer.Option(min=1, help="Times that each voice says a word.")] = 3,
    sample_rate: Annotated[int, typer.Option(min=4000, max=192000, help="Hz.")] = 16000,
    seed: Annotated[int, typer.Option(min=0, help="Of voices, rates and pitches.")] = 42,
    languages: Annotated[
        str | None,
        typer.Option(help="Of espeak-ng, comma-separated (fr-fr,de); English accents without it."),
    ] = None,
) -> None:
    """Let synthetic voices speak your words: train a classifier without a single recording."""
    from earful.data.synthesis.speak_words import ENGLISH_ACCENTS, write_synthetic_clips
    from earful.training.runs.progress import work_progress

    spoken = [word.strip() for word in words.split(",")]
    accents = [name.strip() for name in languages.split(",")] if languages else ENGLISH_ACCENTS
    with work_progress("speak") as on_progress:
        labels_csv = write_synthetic_clips(
            spoken, out, voices=voices, repetitions=repetitions, seed=seed, sample_rate_hz=sample_rate,
            languages=accents, progress=on_progress,
        )  # fmt: skip
    typer.echo(f"{labels_csv}: {len(spoken)} words, {voices} voices, {repetitions} takes each")
