"""Make the digit model that ships with the package: one command, the same file for the same seed.

    uv run python -m training.digits --fsdd ../shared/fsdd --out artifacts/digits

It trains on the official training part of the Free Spoken Digit Dataset and on synthetic voices:
espeak-ng in English accents, espeak-ng's voices of other languages that read the English digits in
their own spelling (which is how a foreign accent sounds), and flite (Debian: ``apt install
flite``), whose voices were built from recordings of real speakers. The official test recordings are
neither trained on nor mixed in as noise.
"""

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from data.audio import resample
from data.dataset import Dataset, open_dataset
from data.errors import EarshotError
from data.features import FeatureConfig
from data.labels import read_labels
from data.prepare import prepare
from data.staging import staged_folder
from data.synthesise import ENGLISH_ACCENTS, write_clips
from training.company import Company
from training.config import default_config
from training.export import export
from training.progress import training_progress
from training.run import train_run

SEED = 42
RATE_HZ = 8_000
MODEL = "tcresnet"
EPOCHS = 24
# So that the recordings of real people, a fifth of the clips, are half of what is heard.
REPEATS = 4
ENGLISH = "zero one two three four five six seven eight nine"
ENGLISH_VOICES, ENGLISH_TAKES = 300, 2
ACCENT_VOICES, ACCENT_TAKES = 18, 2
# How speakers of other languages would spell the English digits for themselves.
ACCENTS = {
    "fr-fr": "ziro ouane tou sri fôr faïve sixe sévène eïte naïne",
    "fr-be": "ziro ouane tou zri fôr faïve sixe sévène eïte naïne",
    "de": "siero wann tuh sri fohr feif six ßewen äit nein",
    "nl": "ziero wan toe srie for faaiv siks sevven eet nain",
    "es": "sírou uan tu zri for faiv siks seven eit nain",
    "it": "ziro uan tu tri for faiv sics seven eit nain",
    "el": "ζίροου ουάν του θρι φορ φάιβ σιξ σέβεν έιτ νάιν",
    "pl": "ziro łan tu fri for fajf siks sewen ejt najn",
    "hi": "ज़ीरो वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन",
    "pt-br": "zírou uan tu frí fór faiv sics séven eit nain",
    "ru": "зиро уан ту сри фор файв сикс севен эйт найн",
    "sv": "siro vann tu tri får fajv six seven ejt najn",
}
# flite's voices with the pitch in hertz that each speaks at.
FLITE_VOICES = {"kal16": 105, "awb": 125, "rms": 100, "slt": 175, "kal": 105}
FLITE_TAKES = 24
# What is to be answered with "unknown": words that no accent takes for a digit.
OTHER_WORDS = (
    "yes no stop go left right up down on off cat dog house happy hello computer music light play "
    "pause open close monday table water window please thanks again morning"
)
OTHER_VOICES = 50
_FLITE_SILENCE = 0.003


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
        EarshotError: flite or espeak-ng is missing.
    """
    if not (out / "dataset" / "dataset.json").is_file():
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


def write_voices(out: Path) -> Path:
    """All synthetic clips into one folder, with one labels CSV."""
    if shutil.which("flite") is None:
        raise EarshotError("the program flite is missing; install it (Debian: apt install flite)")
    typer.echo("speaking", err=True)
    with staged_folder(out, "labels.csv") as folder:
        rows = [("filename", "label", "speaker")]
        rows += _espeak(folder, "english", ENGLISH, ENGLISH_ACCENTS, ENGLISH_VOICES, ENGLISH_TAKES)
        for language, words in ACCENTS.items():
            rows += _espeak(folder, language, words, (language,), ACCENT_VOICES, ACCENT_TAKES)
        (folder / "flite").mkdir()
        rows += _flite(folder)
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return out / "labels.csv"


def _espeak(
    folder: Path, name: str, words: str, languages: Sequence[str], voices: int, takes: int
) -> Iterator[tuple[str, str, str]]:
    """Rows of clips that espeak-ng speaks in these languages."""
    texts = [f"{digit}={word}" for digit, word in enumerate(words.split())]
    labels_csv = write_clips(
        texts, folder / name, voices=voices, takes=takes, seed=SEED, sample_rate_hz=RATE_HZ,
        languages=languages,
    )  # fmt: skip
    for clip in read_labels(labels_csv).clips:
        yield f"{name}/{clip.filename}", clip.label, clip.speaker


def _flite(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Rows of clips that flite speaks, at drawn tempos and pitches."""
    rng = np.random.default_rng(SEED)
    for voice, pitch_hz in FLITE_VOICES.items():
        for take in range(FLITE_TAKES):
            stretch, hertz = rng.uniform(0.7, 1.5), pitch_hz * rng.uniform(0.75, 1.4)
            for digit, word in enumerate(ENGLISH.split()):
                name = f"flite/{voice}-{take:02d}-{digit}.wav"
                _speak_with_flite(word, voice, stretch, hertz, folder / name)
                yield name, str(digit), f"flite-{voice}"


def _speak_with_flite(word: str, voice: str, stretch: float, hertz: float, out: Path) -> None:
    """One word, without the silence around it."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        settings = [
            "--setf",
            f"duration_stretch={stretch}",
            "--setf",
            f"int_f0_target_mean={hertz}",
        ]
        done = subprocess.run(  # noqa: S603
            ["flite", "-voice", voice, *settings, "-t", word, "-o", file.name],  # noqa: S607
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise EarshotError(f"flite cannot speak {word!r} as {voice}: {done.stderr.strip()}")
        samples, rate_hz = soundfile.read(file.name, dtype="float32")
    loud = np.flatnonzero(np.abs(samples) > _FLITE_SILENCE)
    if len(loud) == 0:
        raise EarshotError(f"flite is silent at {word!r} as {voice}")
    margin = rate_hz // 50
    word_only = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    soundfile.write(out, resample(word_only, rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    typer.run(main)
