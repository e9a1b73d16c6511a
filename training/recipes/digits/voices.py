"""Synthetic English digits for the shipped model, with espeak-ng, flite, festival and Pico.

espeak-ng is rule-based, with many voices and accents; its voices of other languages read the digits
in their own spelling, which gives a foreign accent. The voices of flite, festival and Pico
(``training.recipes.digits.pico``) are each built from recordings of one speaker; festival and Pico
have speakers of other languages too.

Debian: ``apt install flite festival`` and the packages in ``FESTIVAL_VOICES``; Pico is the Python
package ttspico.
"""

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from earful.data.atomic_write import staged_folder
from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.speak_words import ENGLISH_ACCENTS, write_synthetic_clips
from earful.training.recipes.digits.pico import pico_engines, synthesize_with_pico
from earful.training.recipes.digits.spoken_word import (
    ACCENTS,
    ENGLISH,
    RATE_HZ,
    REPETITIONS,
    SEED,
    LabelsCsvRow,
    write_word,
)

ENGLISH_VOICES, ENGLISH_REPETITIONS = 300, 2
ACCENT_VOICES, ACCENT_REPETITIONS = 30, 1
# flite's voices and their mean pitch in Hz.
FLITE_VOICES = {"kal16": 105, "awb": 125, "rms": 100, "slt": 175, "kal": 105}
MARKER = "voices.txt"  # only folders with it are replaced


@dataclass(frozen=True)
class FestivalVoice:
    """A voice of festival, its Debian package, and the digits in its language's spelling."""

    name: str
    package: str
    words: str
    encoding: str = "ascii"


_CZECH = "zírou van tů srí fór fajv siks sevn ejt najn"
_FINNISH = "siirou uan tuu srii foor faiv siks seven eit nain"
# Without the Italian voices: festival crashes at random on some of their words.
FESTIVAL_VOICES = (
    FestivalVoice("kal_diphone", "festvox-kallpc16k", ENGLISH),
    FestivalVoice("ked_diphone", "festvox-kdlpc16k", ENGLISH),
    FestivalVoice("cmu_us_slt_arctic_hts", "festvox-us-slt-hts", ENGLISH),
    FestivalVoice("czech_dita", "festvox-czech-dita", _CZECH, "iso-8859-2"),
    FestivalVoice("czech_krb", "festvox-czech-krb", _CZECH, "iso-8859-2"),
    FestivalVoice("czech_machac", "festvox-czech-machac", _CZECH, "iso-8859-2"),
    FestivalVoice("czech_ph", "festvox-czech-ph", _CZECH, "iso-8859-2"),
    FestivalVoice("hy_fi_mv_diphone", "festvox-suopuhe-mv", _FINNISH),
    FestivalVoice("suo_fi_lj_diphone", "festvox-suopuhe-lj", _FINNISH),
    FestivalVoice("msu_ru_nsh_clunits", "festvox-ru", ACCENTS["ru"], "utf-8"),
    FestivalVoice("upc_ca_ona_hts", "festvox-ca-ona-hts", ACCENTS["es"], "iso-8859-15"),
)


def write_voices(out: Path) -> Path:
    """Write all synthetic clips and their labels CSV to the folder ``out``; return the CSV's path.

    Raises:
        EarfulError: an engine or a voice is missing, or fails on a word.
    """
    for program in ("flite", "festival"):
        if shutil.which(program) is None:
            packages = " ".join(voice.package for voice in FESTIVAL_VOICES)
            raise EarfulError(
                f"the program {program} is missing; Debian: apt install flite festival {packages}"
            )
    pico = pico_engines()
    with staged_folder(out, MARKER) as folder:
        (folder / MARKER).write_text(
            "Written by training.recipes.digits.voices, which replaces this folder.\n"
        )
        rows: list[LabelsCsvRow] = [("filename", "label", "speaker")]
        rows += _espeak(
            folder, "english", ENGLISH, ENGLISH_ACCENTS, ENGLISH_VOICES, ENGLISH_REPETITIONS
        )
        for language, words in ACCENTS.items():
            rows += _espeak(folder, language, words, (language,), ACCENT_VOICES, ACCENT_REPETITIONS)
        for engine in ("flite", "festival", "pico"):
            (folder / engine).mkdir()
        rows += _flite(folder)
        rows += _festival(folder)
        rows += synthesize_with_pico(pico, folder)
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return out / "labels.csv"


def _espeak(
    folder: Path, name: str, words: str, languages: Sequence[str], voices: int, repetitions: int
) -> Iterator[LabelsCsvRow]:
    """Write clips of espeak-ng in these languages; yield their rows."""
    texts = [f"{digit}={word}" for digit, word in enumerate(words.split())]
    labels_csv = write_synthetic_clips(
        texts,
        folder / name,
        voices=voices,
        repetitions=repetitions,
        seed=SEED,
        sample_rate_hz=RATE_HZ,
        languages=languages,
    )
    for clip in read_labels(labels_csv).clips:
        yield f"{name}/{clip.filename}", clip.label, clip.speaker


def _flite(folder: Path) -> Iterator[LabelsCsvRow]:
    """Write clips of flite at random tempo and pitch; yield their rows."""
    rng = np.random.default_rng(SEED)
    for voice, pitch_hz in FLITE_VOICES.items():
        for repetition in range(REPETITIONS):
            stretch, mean_hz = rng.uniform(0.7, 1.5), pitch_hz * rng.uniform(0.75, 1.4)
            tempo = ("--setf", f"duration_stretch={stretch}")
            pitch = ("--setf", f"int_f0_target_mean={mean_hz}")
            for digit, word in enumerate(ENGLISH.split()):
                with tempfile.NamedTemporaryFile(suffix=".wav") as wav_file:
                    _run("flite", "-voice", voice, *tempo, *pitch, "-t", word, "-o", wav_file.name)
                    samples, rate_hz = soundfile.read(wav_file.name, dtype="float32")
                name = f"flite/{voice}-{repetition:02d}-{digit}.wav"
                write_word(samples, rate_hz, folder / name)
                yield name, str(digit), f"flite-{voice}"


def _festival(folder: Path) -> Iterator[LabelsCsvRow]:
    """Write clips of festival at random tempo and speaker size; yield their rows.

    The two HTS voices have a fixed tempo.
    """
    rng = np.random.default_rng(SEED)
    for voice in FESTIVAL_VOICES:
        for repetition in range(REPETITIONS):
            size, stretch = rng.uniform(0.88, 1.14), rng.uniform(0.7, 1.35)
            with tempfile.TemporaryDirectory() as wav_folder:
                _synthesize_with_festival(voice, stretch * size, Path(wav_folder))
                for digit in range(10):
                    samples, rate_hz = soundfile.read(f"{wav_folder}/{digit}.wav", dtype="float32")
                    name = f"festival/{voice.name}-{repetition:02d}-{digit}.wav"
                    # A higher rate shifts pitch and formants up, as of a smaller speaker.
                    write_word(samples, round(rate_hz * size), folder / name)
                    yield name, str(digit), f"festival-{voice.name}"


def _synthesize_with_festival(voice: FestivalVoice, stretch: float, out: Path) -> None:
    """Write the ten digits as ``out``/DIGIT.wav."""
    lines = [f"(voice_{voice.name})", f"(Parameter.set 'Duration_Stretch {stretch:.3f})"]
    for digit, word in enumerate(voice.words.split()):
        utterance = f'(utt.synth (Utterance Text "{word}"))'
        lines.append(f'(utt.save.wave {utterance} "{out}/{digit}.wav" \'riff)')
    (out / "script.scm").write_text("\n".join(lines), voice.encoding)
    _run("festival", "--batch", str(out / "script.scm"))


def _run(*command: str) -> None:
    process = subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    if process.returncode != 0:
        lines = process.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise EarfulError(f"{' '.join(command)} failed with code {process.returncode}: {lines[-1]}")
