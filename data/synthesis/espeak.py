"""espeak-ng in this process: a text and a voice to a waveform.

The library and its voices come with the wheel espeakng-loader (extra ``synth``); no system package
is needed.

espeak-ng 1.52 keeps its state in C globals, and no call resets all of it: the phase of the pitch
flutter, the gain control and the breath noise continue from one utterance to the next (its
wavegen.c), so a word never sounds the same twice. Each utterance therefore loads the library anew
and unloads it, which takes 3 ms; a clip then depends only on its text and voice.
"""

import ctypes
import importlib
import os
import shutil
import tempfile
import threading
import unicodedata
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earful.data.errors import EarfulError, did_you_mean
from earful.data.system.libraries import link_or_copy, unload

# speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000  # otherwise the library exits the process if it finds no data
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)  # (samples or NULL at the end, their count, events) -> 0 to continue

_SAMPLE_RATE_HZ = 22050  # all voices except MBROLA's; checked at each load
# One buffer for a whole utterance. ctypes prints and drops exceptions inside the callback (such as
# Ctrl-C); with one chunk that gives no sound, which is an error, instead of part of a word.
_BUFFER_MS = 30_000
_SILENCE_AMPLITUDE = 1e-3  # -60 dBFS
_MARGIN_SECONDS = 0.02
_RESPELL_HINT = "write it as it is spoken, as in '#=number sign'."


class SynthesisError(EarfulError):
    """A word that cannot be spoken, an unknown voice, or a missing espeak-ng."""


@dataclass(frozen=True)
class Voice:
    """A synthetic voice: ``language`` and ``variant`` are the speaker, the rest is the delivery.

    ``rate_wpm`` is words per minute, 80 to 450. ``pitch`` and ``pitch_range`` are on espeak-ng's
    scales, 0 to 99: 50 is the variant's own.

    Raises:
        SynthesisError: a value outside its range.
    """

    language: str
    variant: str = ""
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50

    def __post_init__(self) -> None:
        """Refuse values that espeak-ng would silently clamp."""
        for field, low, high in (("rate_wpm", 80, 450), ("pitch", 0, 99), ("pitch_range", 0, 99)):
            value = getattr(self, field)
            if not low <= value <= high:
                raise SynthesisError(f"{field} is {value}; accepted: {low} to {high}.")

    @property
    def name(self) -> str:
        """The speaker's name, such as ``en-us+f3``."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


class Synthesizer:
    """espeak-ng in this process; use it as a context manager.

    Each instance has a private copy of the library and a lock, so instances, threads and forks are
    safe.

    Raises:
        SynthesisError: espeakng-loader is not installed.
    """

    sample_rate_hz = _SAMPLE_RATE_HZ

    def __init__(self) -> None:
        """Copy the library to a temporary folder and list the voices."""
        library, voices = _find_espeak()
        self._folder = _short_temporary_folder()
        self._remove = weakref.finalize(self, _remove_unless_forked, self._folder, os.getpid())
        self._library = self._folder / library.name
        shutil.copyfile(library, self._library)
        # espeak-ng truncates its data path to 160 characters (N_PATH_HOME); the link is short.
        link_or_copy(voices, self._folder / "espeak-ng-data")
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

    def synthesize(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """``text`` spoken by ``voice``: (samples,) float32 in [-1, 1] at ``sample_rate_hz``.

        Deterministic. Leading and trailing silence below -60 dBFS is trimmed to 20 ms.

        Raises:
            SynthesisError: an unknown voice, or a text without sound or that espeak-ng would spell
                out instead of reading it.
        """
        _check_text(text, voice.language)
        identifier = self._identifier(voice)
        with self._lock, self._fresh_library() as library:
            pcm = _synthesize_pcm(library, text, identifier, voice)
        waveform = pcm.astype(np.float32) / np.float32(32768)
        loud = np.flatnonzero(np.abs(waveform) > _SILENCE_AMPLITUDE)
        if loud.size == 0:
            raise SynthesisError(f"{text!r} has no sound as {voice.name}; {_RESPELL_HINT}")
        margin = round(_MARGIN_SECONDS * self.sample_rate_hz)
        return waveform[max(0, loud[0] - margin) : loud[-1] + 1 + margin]

    def require_language(self, language: str) -> None:
        """Refuse a language that espeak-ng does not speak.

        Raises:
            SynthesisError: it does not; the message lists all.
        """
        if language not in self._languages:
            hint = did_you_mean(language, self._languages)
            raise SynthesisError(
                f"espeak-ng does not speak {language!r}{hint}; it speaks "
                f"{', '.join(sorted(self._languages))}"
            )

    def _identifier(self, voice: Voice) -> str:
        """The voice's file name; espeak-ng would ignore an unknown variant."""
        self.require_language(voice.language)
        if voice.variant not in self._variants:
            accepted = ", ".join(sorted(self._variants - {""}))
            hint = did_you_mean(voice.variant, self._variants - {""})
            raise SynthesisError(
                f"espeak-ng has no variant {voice.variant!r}{hint}; it has {accepted}"
            )
        identifier = self._languages[voice.language]
        return f"{identifier}+{voice.variant}" if voice.variant else identifier

    @contextmanager
    def _fresh_library(self) -> Iterator[ctypes.CDLL]:
        library = ctypes.CDLL(str(self._library))
        try:
            _declare_signatures(library)
            home = os.fsencode(self._folder)
            options = (_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, home, _INITIALIZE_DONT_EXIT)
            rate_hz = library.espeak_Initialize(*options)
            if rate_hz != _SAMPLE_RATE_HZ:
                raise SynthesisError(
                    f"espeak-ng did not start (it returned {rate_hz}, not {_SAMPLE_RATE_HZ} Hz); "
                    "install it again: uv sync --inexact --extra synth "
                    "--reinstall-package espeakng-loader"
                )
            try:
                yield library
            finally:
                library.espeak_Terminate()
        finally:
            # Unloading is the only way to reset the C globals.
            unload(library)


def _find_espeak() -> tuple[Path, Path]:
    """The paths of the library and of its data folder."""
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise SynthesisError(
            "speech synthesis needs espeak-ng; install it with: uv sync --inexact --extra synth"
        ) from error
    return Path(loader.get_library_path()), Path(loader.get_data_path()).resolve()


def _short_temporary_folder() -> Path:
    folder = tempfile.gettempdir()
    is_short = len(os.fsencode(folder)) < 80 or os.name == "nt"
    parent = folder if is_short else "/tmp"  # noqa: S108 - mkdtemp is safe
    return Path(tempfile.mkdtemp(prefix="earful-espeak-", dir=parent))


def _remove_unless_forked(folder: Path, process_id: int) -> None:
    """Remove ``folder``, unless in a fork of the process that created it."""
    if os.getpid() == process_id:
        shutil.rmtree(folder, ignore_errors=True)


def _languages(folder: Path) -> dict[str, str]:
    """Map each language tag to its voice file with the lowest (best) priority.

    Voice files have lines ``language TAG [PRIORITY]``; the default priority is 5 (voices.c).
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


def _declare_signatures(library: ctypes.CDLL) -> None:
    """Set the argument types of ``speak_lib.h`` and ``espeak_ng.h``."""
    text, size, number, pointer = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    count = ctypes.c_uint
    library.espeak_Initialize.argtypes = [number, number, text, number]
    library.espeak_SetSynthCallback.argtypes = [_SYNTH_CALLBACK]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [text]
    library.espeak_SetParameter.argtypes = [number, number, number]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [text, size, count, number, count, count, pointer, pointer]


def _synthesize_pcm(
    library: ctypes.CDLL, text: str, identifier: str, voice: Voice
) -> NDArray[np.int16]:
    """One utterance (samples,) int16; empty if espeak-ng returns no samples."""
    chunks: list[bytes] = []

    def collect_chunk(samples: int | None, n_samples: int, _events: int | None) -> int:
        if samples and n_samples > 0:
            chunks.append(ctypes.string_at(samples, 2 * n_samples))
        return 0

    callback = _SYNTH_CALLBACK(collect_chunk)  # a named reference, as C holds none
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(1)  # breath noise; the default seed is the time
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
    """Refuse text that espeak-ng would drop, truncate or spell ("Chinese letter, ...")."""
    if not text.strip():
        raise SynthesisError("The text is empty; give a word to speak.")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise SynthesisError(f"{text!r} contains control characters; {_RESPELL_HINT}")
    if not any(character.isalnum() for character in text):
        raise SynthesisError(f"{text!r} has no letter or digit to speak; {_RESPELL_HINT}")
    if language.startswith("en") and language != "en-shaw":
        foreign = [c for c in text if c.isalpha() and "LATIN" not in unicodedata.name(c, "")]
        if foreign:
            raise SynthesisError(
                f"an English voice cannot read {text!r} ({foreign[0]!r}); {_RESPELL_HINT}"
            )
