"""Speak words with espeak-ng, to train without a single recording.

``Synthesiser.speak`` turns one text and one voice into a waveform; ``write_clips`` turns words,
voices and takes into a folder of clips with its labels CSV. Library and voices come with the
wheel espeakng-loader (extra ``synth``): nothing has to be installed on the machine.

espeak-ng 1.52 keeps its state in C globals, and no call resets all of it: the phase of the pitch
flutter, the gain control and the breath noise run on from one utterance into the next (its
wavegen.c), so that a word never sounds the same twice. Each utterance therefore gets a freshly
loaded library, unloaded again after it: that costs 3 ms, and makes a clip depend on its text and
voice alone.
"""

import csv
import ctypes
import importlib
import os
import re
import shutil
import tempfile
import threading
import unicodedata
import weakref
from _ctypes import dlclose
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from data.audio import resample
from data.errors import EarshotError
from data.labels import MAX_LABEL_CHARACTERS

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
# Commands, ten words) understands at least four times as often as chance. Left out besides: robots,
# echoes, whispers, cartoon pitches, vowels cut to half their length ("stressLength 0 1 2 3 ..."),
# and Reed and caleb, whose noise comes from the C library's rand().
# fmt: off
WOMEN = (
    "Annie", "aunty", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma", "linda", "steph",
    "steph2",
)
MEN = (  # the empty one is the accent's plain voice
    "", "Alex", "Andy", "Denis", "Diogo", "Henrique", "Hugo", "Mario", "Mike", "Nguyen", "adam",
    "benjamin", "david", "edward", "edward2", "grandpa", "iven3", "iven4", "john", "klatt4",
    "klatt5", "klatt6", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "max", "michel", "miguel",
    "mike2", "pablo", "quincy", "rob", "robert", "victor",
)
# fmt: on

# speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000  # without it, a library that finds no data ends the process
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)  # (samples or NULL at the end, their count, events) -> 0 to go on

_SAMPLE_RATE_HZ = 22050  # of every voice that is not MBROLA's; checked at each load
# One buffer for a whole utterance. ctypes can only print an exception inside the callback (the
# Ctrl-C of a user) and drop it; with one chunk that gives no sound, an error, and not a torn word.
_BUFFER_MS = 30_000
_SILENCE = 1e-3  # -60 dBFS
_MARGIN_SECONDS = 0.02
_ADVICE = "write how it is spoken, as in '#=number sign'."


class SynthesisError(EarshotError):
    """A word or a voice that cannot be spoken, or a folder that cannot be written."""


@dataclass(frozen=True)
class Voice:
    """Who speaks, and how: accent and variant make the speaker, the rest is a manner of speaking.

    ``pitch`` and ``pitch_range`` are espeak-ng's scales: 50 is the variant's own.
    """

    language: str
    variant: str = ""
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50

    def __post_init__(self) -> None:
        """Refuse what espeak-ng would silently clamp."""
        for field, low, high in (("rate_wpm", 80, 450), ("pitch", 0, 99), ("pitch_range", 0, 99)):
            value = getattr(self, field)
            if not low <= value <= high:
                raise SynthesisError(f"{field} is {value}; accepted: {low} to {high}.")

    @property
    def name(self) -> str:
        """The speaker, for example ``en-us+f3``."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


class Synthesiser:
    """espeak-ng in this process; use it as a context manager.

    Each instance works on a private copy of the library and holds a lock: any number of instances
    and threads are safe, and so is a fork. Raises ``SynthesisError`` without espeakng-loader.
    """

    sample_rate_hz = _SAMPLE_RATE_HZ

    def __init__(self) -> None:
        """Copy the library to a temporary folder and read which voices there are."""
        library, voices = _installed()
        self._folder = _short_temporary_folder()
        self._remove = weakref.finalize(self, _remove_in_process, self._folder, os.getpid())
        self._library = self._folder / library.name
        shutil.copyfile(library, self._library)
        # espeak-ng cuts paths to its data at 160 characters (N_PATH_HOME); a link is always short.
        (self._folder / "espeak-ng-data").symlink_to(voices, target_is_directory=True)
        self._languages = _languages(voices / "lang")
        self._variants = {"", *(path.name for path in (voices / "voices" / "!v").iterdir())}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the private copy of the library."""
        self._remove()

    def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """Speak ``text`` as ``voice``, the same for the same arguments.

        Returns (samples,) float32 in [-1, 1] at ``sample_rate_hz``; what is below -60 dBFS before
        and after the sound is cut, save a margin of 20 ms. Raises ``SynthesisError`` for an unknown
        voice and for a text without sound, or one that would be spelled out and not read.
        """
        _check_text(text, voice.language)
        identifier = self._identifier(voice)
        with self._lock, self._fresh_library() as library:
            pcm = _utter(library, text, identifier, voice)
        waveform = pcm.astype(np.float32) / np.float32(32768)
        loud = np.flatnonzero(np.abs(waveform) > _SILENCE)
        if loud.size == 0:
            raise SynthesisError(f"{text!r} has no sound as {voice.name}; {_ADVICE}")
        margin = round(_MARGIN_SECONDS * self.sample_rate_hz)
        return waveform[max(0, loud[0] - margin) : loud[-1] + 1 + margin]

    def _identifier(self, voice: Voice) -> str:
        """Name the voice's file, for espeak-ng takes an unknown variant for the plain voice."""
        for kind, value, known in (
            ("language", voice.language, set(self._languages)),
            ("variant", voice.variant, self._variants),
        ):
            if value not in known:
                accepted = ", ".join(sorted(known - {""}))
                raise SynthesisError(f"Unknown {kind} {value!r}; accepted: {accepted}.")
        identifier = self._languages[voice.language]
        return f"{identifier}+{voice.variant}" if voice.variant else identifier

    @contextmanager
    def _fresh_library(self) -> Iterator[ctypes.CDLL]:
        library = ctypes.CDLL(str(self._library))
        try:
            _declare(library)
            home = os.fsencode(self._folder)
            options = (_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, home, _INITIALIZE_DONT_EXIT)
            rate_hz = library.espeak_Initialize(*options)
            if rate_hz != _SAMPLE_RATE_HZ:
                raise SynthesisError(
                    f"espeak-ng did not start (it answered {rate_hz}, not {_SAMPLE_RATE_HZ} Hz); "
                    f"install it again: pip install --force-reinstall espeakng-loader"
                )
            try:
                yield library
            finally:
                library.espeak_Terminate()
        finally:
            # The only way to give the globals their first values again.
            dlclose(library._handle)  # noqa: SLF001 - ctypes has no public name for it


def draw_voices(n: int, seed: int, languages: Sequence[str] = ENGLISH_ACCENTS) -> list[Voice]:
    """Draw ``n`` distinct speakers, the same for the same seed.

    Half are women's voices, as long as there are some; rate (130 to 200 words a minute), pitch and
    pitch range are each speaker's own. Raises ``SynthesisError`` when there are fewer than ``n``.
    """
    rng = np.random.default_rng(seed)
    women, men = (list(product(languages, variants)) for variants in (WOMEN, MEN))
    if not 0 < n <= len(women) + len(men):
        raise SynthesisError(f"{n} voices asked for; accepted: 1 to {len(women) + len(men)}.")
    rng.shuffle(women)
    rng.shuffle(men)
    n_women = min(len(women), max(n // 2, n - len(men)))
    speakers = women[:n_women] + men[: n - n_women]
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


def write_clips(
    words: Sequence[str],
    out: Path,
    *,
    voices: int,
    takes: int,
    seed: int,
    sample_rate_hz: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write each word, by each voice, ``takes`` times: ``out/clips/*.wav`` and ``out/labels.csv``.

    A word is its own label, or is given as ``label=text``. The clips are 16-bit mono; the columns
    are filename, label and speaker. ``progress`` hears (clips done, clips in all). The same
    arguments give the same bytes. Returns the path of the CSV.

    Raises ``SynthesisError`` before anything is written for a word that cannot be spoken, a label
    given twice and an ``out`` that holds files. ``out`` appears when it is complete, or not at all.
    """
    texts = _texts_by_label(words)
    speakers = draw_voices(voices, seed)
    if takes < 1:
        raise SynthesisError(f"{takes} takes asked for; at least 1 is needed.")
    _check_vacant(out)
    rng = np.random.default_rng([seed, 1])  # apart from the stream that drew the speakers
    plan = [
        _Take(f"{number:03d}-{_slug(label)}-{at:03d}-{take:02d}.wav", label, text, _vary(who, rng))
        for number, (label, text) in enumerate(texts.items())
        for (at, who), take in product(enumerate(speakers), range(takes))
    ]
    with Synthesiser() as synthesiser:
        for text in texts.values():
            synthesiser.speak(text, speakers[0])
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".synthesise-", dir=out.parent) as staging:
            clips = Path(staging) / "new" / "clips"
            clips.mkdir(parents=True)
            for done, take in enumerate(plan, start=1):
                waveform = synthesiser.speak(take.text, take.voice)
                waveform = resample(waveform, synthesiser.sample_rate_hz, sample_rate_hz)
                _write_pcm16(clips / take.filename, waveform, sample_rate_hz)
                if progress is not None:
                    progress(done, len(plan))
            _write_labels(clips.parent / "labels.csv", plan)
            clips.parent.replace(out)
    return out / "labels.csv"


@dataclass(frozen=True)
class _Take:
    """One clip to come."""

    filename: str
    label: str
    text: str
    voice: Voice


def _installed() -> tuple[Path, Path]:
    """Find the library and its data folder."""
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise SynthesisError(
            "Speech synthesis needs espeak-ng: pip install 'earshot[synth]'."
        ) from error
    return Path(loader.get_library_path()), Path(loader.get_data_path()).resolve()


def _short_temporary_folder() -> Path:
    folder = tempfile.gettempdir()
    parent = folder if len(os.fsencode(folder)) < 80 else "/tmp"  # noqa: S108 - mkdtemp is safe
    return Path(tempfile.mkdtemp(prefix="earshot-espeak-", dir=parent))


def _remove_in_process(folder: Path, process_id: int) -> None:
    """Remove ``folder``, unless this is a fork of the process that still needs it."""
    if os.getpid() == process_id:
        shutil.rmtree(folder, ignore_errors=True)


def _languages(folder: Path) -> dict[str, str]:
    """Map each language tag to the voice file that claims it with the lowest (best) number.

    The files hold lines ``language TAG [PRIORITY]``; 5 is the default (voices.c).
    """
    claims: dict[str, tuple[int, str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for line in path.read_text(encoding="utf-8").splitlines():
            keyword, *values = line.split("//")[0].split() or [""]
            if keyword == "language" and values:
                priority = int(values[1]) if len(values) > 1 else 5
                claim = (priority, path.relative_to(folder).as_posix())
                claims[values[0].lower()] = min(claim, claims.get(values[0].lower(), claim))
    return {tag: identifier for tag, (_, identifier) in claims.items()}


def _declare(library: ctypes.CDLL) -> None:
    """Set the argument types that ``speak_lib.h`` and ``espeak_ng.h`` declare."""
    text, size, number, pointer = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    count = ctypes.c_uint
    library.espeak_Initialize.argtypes = [number, number, text, number]
    library.espeak_SetSynthCallback.argtypes = [_SYNTH_CALLBACK]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [text]
    library.espeak_SetParameter.argtypes = [number, number, number]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [text, size, count, number, count, count, pointer, pointer]


def _utter(library: ctypes.CDLL, text: str, identifier: str, voice: Voice) -> NDArray[np.int16]:
    """Run one utterance; (samples,) int16, empty when espeak-ng gives none."""
    chunks: list[bytes] = []

    def keep(samples: int | None, n_samples: int, _events: int | None) -> int:
        if samples and n_samples > 0:
            chunks.append(ctypes.string_at(samples, 2 * n_samples))
        return 0

    callback = _SYNTH_CALLBACK(keep)  # named, for C holds no reference to it
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(1)  # breath noise; by default the seed is the clock
    encoded = text.encode()
    failed = library.espeak_SetVoiceByName(os.fsencode(identifier))
    for parameter, value in (
        (_RATE, voice.rate_wpm),
        (_PITCH, voice.pitch),
        (_RANGE, voice.pitch_range),
    ):
        failed = failed or library.espeak_SetParameter(parameter, value, 0)
    failed = failed or library.espeak_Synth(
        encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
    )
    failed = failed or library.espeak_Synchronize()
    if failed:
        raise SynthesisError(f"espeak-ng failed to speak {text!r} as {voice.name} (code {failed}).")
    return np.frombuffer(b"".join(chunks), dtype=np.int16)


def _check_text(text: str, language: str) -> None:
    """Refuse what espeak-ng would drop, cut short or spell ("Chinese letter, Chinese letter")."""
    if not text.strip():
        raise SynthesisError("There is nothing to speak: the text is empty.")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise SynthesisError(f"{text!r} holds control characters; {_ADVICE}")
    if not any(character.isalnum() for character in text):
        raise SynthesisError(f"{text!r} holds no letter and no digit to speak; {_ADVICE}")
    if language.startswith("en") and language != "en-shaw":
        foreign = [c for c in text if c.isalpha() and "LATIN" not in unicodedata.name(c, "")]
        if foreign:
            raise SynthesisError(
                f"{text!r} cannot be read by an English voice ({foreign[0]!r}); {_ADVICE}"
            )


def _texts_by_label(words: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for word in words:
        label, _, text = (part.strip() for part in word.partition("="))
        if not label or ("=" in word and not text):
            raise SynthesisError(f"{word!r} is no word; accepted: WORD, or LABEL=SPOKEN TEXT.")
        if len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
            raise SynthesisError(
                f"{label[:40]!r} is no label: one is printable and at most "
                f"{MAX_LABEL_CHARACTERS} characters long; write it as LABEL=SPOKEN TEXT."
            )
        if label in texts:
            raise SynthesisError(
                f"The label {label!r} is given twice; each needs to be given once."
            )
        texts[label] = text or label
    if not texts:
        raise SynthesisError("There are no words to speak; give at least one.")
    return texts


def _check_vacant(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SynthesisError(f"{out} exists already; name a new folder, or remove it first.")


def _vary(speaker: Voice, rng: np.random.Generator) -> Voice:
    """Draw one take: nobody says a word twice at the same rate (±8 %) and pitch."""
    rate_wpm = round(speaker.rate_wpm * rng.uniform(0.92, 1.08))
    pitch = speaker.pitch + int(rng.integers(-4, 5))
    pitch_range = speaker.pitch_range + int(rng.integers(-10, 11))
    return replace(speaker, rate_wpm=rate_wpm, pitch=pitch, pitch_range=pitch_range)


def _slug(label: str) -> str:
    """Make a label safe in a file name on any system; empty where nothing is left of it."""
    ascii_label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_label.lower()).strip("_")[:40]


def _write_pcm16(path: Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    pcm = np.round(np.clip(waveform, -1, 32767 / 32768) * 32768).astype(np.int16)
    soundfile.write(path, pcm, sample_rate_hz, subtype="PCM_16")


def _write_labels(path: Path, plan: Sequence[_Take]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("filename", "label", "speaker"))
        writer.writerows((f"clips/{take.filename}", take.label, take.voice.name) for take in plan)
