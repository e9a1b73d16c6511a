"""Synthetic clips of words by espeak-ng voices, for training without recordings.

``draw_voices`` draws speakers; ``write_synthetic_clips`` writes a folder of clips of the given
words with its labels CSV.
"""

import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earful.data.atomic_write import OutputError, json_bytes, staged_folder
from earful.data.audio.decode import resample
from earful.data.labels.multilabel import SEPARATOR, find_label_problem, has_multiple_labels
from earful.data.synthesis.espeak import SynthesisError, Synthesizer, Voice
from earful.data.text.formula_cells import write_csv

LABELS_CSV = "labels.csv"
# Marks a folder of synthetic clips, which may be replaced; real recordings have a labels.csv too.
MARKER_FILENAME = "synthesis.json"
ENGLISH_ACCENTS = (
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-029",
    "en-us",
    "en-us-nyc",
)
# Of the 104 variants, those that do not clip and that a classifier of real recordings (Speech
# Commands, ten words) recognises at least four times as often as chance. Also excluded: robots,
# echoes, whispers, cartoon pitches, vowels of half length ("stressLength 0 1 2 3 ..."), and Reed
# and caleb, whose noise comes from the C library's rand().
FEMALE_VARIANTS = (
    "Annie",
    "aunty",
    "belinda",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "grandma",
    "linda",
    "steph",
    "steph2",
)
MALE_VARIANTS = (  # the empty variant is the accent's default voice
    "",
    "Alex",
    "Andy",
    "Denis",
    "Diogo",
    "Henrique",
    "Hugo",
    "Mario",
    "Mike",
    "Nguyen",
    "adam",
    "benjamin",
    "david",
    "edward",
    "edward2",
    "grandpa",
    "iven3",
    "iven4",
    "john",
    "klatt4",
    "klatt5",
    "klatt6",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "max",
    "michel",
    "miguel",
    "mike2",
    "pablo",
    "quincy",
    "rob",
    "robert",
    "victor",
)


def draw_voices(n: int, seed: int, languages: Sequence[str] = ENGLISH_ACCENTS) -> list[Voice]:
    """Draw ``n`` distinct speakers; deterministic for a given seed.

    Half are female as far as there are enough; rate (130 to 200 words per minute), pitch and pitch
    range are drawn per speaker.

    Raises:
        SynthesisError: there are fewer than ``n`` voices.
    """
    rng = np.random.default_rng(seed)
    female, male = (
        list(product(languages, variants)) for variants in (FEMALE_VARIANTS, MALE_VARIANTS)
    )
    if not 0 < n <= len(female) + len(male):
        raise SynthesisError(
            f"{n} voices requested; accepted: 1 to {len(female) + len(male)}, the number of "
            f"voices for {', '.join(languages)}."
        )
    rng.shuffle(female)
    rng.shuffle(male)
    n_female = min(len(female), max(n // 2, n - len(male)))
    speakers = female[:n_female] + male[: n - n_female]
    rng.shuffle(speakers)
    return [
        Voice(
            language,
            variant,
            rate_wpm=int(rng.integers(130, 201)),
            pitch=int(rng.integers(35, 66)),
            pitch_range=int(rng.integers(30, 71)),
        )
        for language, variant in speakers
    ]


def write_synthetic_clips(
    words: Sequence[str],
    out: Path,
    *,
    voices: int,
    repetitions: int,
    seed: int,
    sample_rate_hz: int,
    languages: Sequence[str] = ENGLISH_ACCENTS,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``out/clips/*.wav``, each word by each voice ``repetitions`` times, and a labels CSV.

    A word is its own label, or is given as ``label=text``. Clips are 16-bit mono at
    ``sample_rate_hz``; the columns of ``out/labels.csv`` are filename, label and speaker.
    ``progress`` is called with (clips done, clips in total). The same arguments give the same
    bytes. ``out`` appears complete or not at all; earlier synthetic clips are replaced.

    Returns:
        The path of the CSV.

    Raises:
        SynthesisError: a word that cannot be spoken, or a label given twice; nothing is written.
        OutputError: ``out`` has other content, or cannot be written.
    """
    texts = _texts_by_label(words)
    _require_own_folder(out)
    with Synthesizer() as synthesizer:
        for language in languages:
            synthesizer.require_language(language)
    speakers = draw_voices(voices, seed, languages)
    if repetitions < 1:
        raise SynthesisError(f"{repetitions} repetitions requested; accepted: 1 or more.")
    rng = np.random.default_rng([seed, 1])  # independent of the stream that drew the speakers
    plan = [
        _PlannedClip(
            f"{number:03d}-{_slug(label)}-{speaker_index:03d}-{repetition:02d}.wav",
            label,
            text,
            _perturb_voice(voice, rng),
        )
        for number, (label, text) in enumerate(texts.items())
        for (speaker_index, voice), repetition in product(enumerate(speakers), range(repetitions))
    ]
    with Synthesizer() as synthesizer:
        for text in texts.values():
            synthesizer.synthesize(text, speakers[0])
        with staged_folder(out, MARKER_FILENAME) as staging:
            clips = staging / "clips"
            clips.mkdir()
            for done, clip in enumerate(plan, start=1):
                waveform = synthesizer.synthesize(clip.text, clip.voice)
                waveform = resample(waveform, synthesizer.sample_rate_hz, sample_rate_hz)
                _write_pcm16(clips / clip.filename, waveform, sample_rate_hz)
                if progress is not None:
                    progress(done, len(plan))
            _write_labels(staging / LABELS_CSV, plan)
            synthesis = {"texts": texts, "voices": voices, "repetitions": repetitions, "seed": seed}
            (staging / MARKER_FILENAME).write_bytes(json_bytes(synthesis))
    return out / LABELS_CSV


def _require_own_folder(out: Path) -> None:
    """Refuse to replace earlier clips to which other files were added.

    Raises:
        OutputError: there are other files.
    """
    if not (out / MARKER_FILENAME).is_file():
        return  # staged_folder refuses it, unless it is empty
    own = re.compile(rf"{LABELS_CSV}|{MARKER_FILENAME}|clips|clips/\d+-.*-\d+-\d+\.wav")
    names = (path.relative_to(out).as_posix() for path in sorted(out.rglob("*")))
    added = [name for name in names if not own.fullmatch(name)]
    if added:
        raise OutputError(
            f"{out} holds synthetic clips and other files ({added[0]}), which would be deleted; "
            "move them, or give another --out"
        )


@dataclass(frozen=True)
class _PlannedClip:
    """A clip to synthesize."""

    filename: str
    label: str
    text: str
    voice: Voice


def _texts_by_label(words: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for word in words:
        label, _, text = (part.strip() for part in word.partition("="))
        if not label or ("=" in word and not text):
            raise SynthesisError(f"{word!r} is not a word; accepted: WORD, or LABEL=SPOKEN TEXT.")
        if has_multiple_labels(label):
            raise SynthesisError(
                f"{label[:40]!r} has a {SEPARATOR}, which separates the labels of a multi-label "
                "clip; a spoken word has one label. Write it as LABEL=SPOKEN TEXT."
            )
        if (problem := find_label_problem(label)) is not None:
            raise SynthesisError(
                f"{label[:40]!r} is not a label: {problem}; write it as LABEL=SPOKEN TEXT."
            )
        if label in texts:
            raise SynthesisError(f"The label {label!r} is given twice; give each label once.")
        texts[label] = text or label
    if not texts:
        raise SynthesisError("There are no words to speak; give at least one.")
    return texts


def _perturb_voice(speaker: Voice, rng: np.random.Generator) -> Voice:
    """Vary rate (±8 %), pitch and pitch range for one repetition."""
    rate_wpm = round(speaker.rate_wpm * rng.uniform(0.92, 1.08))
    pitch = speaker.pitch + int(rng.integers(-4, 5))
    pitch_range = speaker.pitch_range + int(rng.integers(-10, 11))
    return replace(speaker, rate_wpm=rate_wpm, pitch=pitch, pitch_range=pitch_range)


def _slug(label: str) -> str:
    """A part of a file name, valid on any system; empty if no character of the label is."""
    ascii_label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_label.lower()).strip("_")[:40]


def _write_pcm16(path: Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    pcm = np.round(np.clip(waveform, -1, 32767 / 32768) * 32768).astype(np.int16)
    buffer = io.BytesIO()  # libsndfile would say "System error" of a full disk
    soundfile.write(buffer, pcm, sample_rate_hz, format="WAV", subtype="PCM_16")
    path.write_bytes(buffer.getbuffer())


def _write_labels(path: Path, plan: Sequence[_PlannedClip]) -> None:
    rows = ((f"clips/{clip.filename}", clip.label, clip.voice.name) for clip in plan)
    write_csv(path, ("filename", "label", "speaker"), rows, line_end="\n")
