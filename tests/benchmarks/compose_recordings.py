"""Long recordings whose events are known, composed of short clips of the shared folders.

Each is written as NAME.wav with its events as the Audacity label track NAME.txt. Seeds are fixed:
the same folders give the same recordings.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earful.data.annotations.audacity import track_line
from earful.training.evaluation.event_metrics import SoundEvent

Waveform = NDArray[np.float32]

# Between clips there is no digital silence: a quiet room, -70 dB re full scale.
ROOM_LEVEL = np.float32(10 ** (-70 / 20))
SNR_DB = 12.0
COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
# Two sounds as broad as each other, so that the level says nothing of the border.
SOUNDS = {"rain": "rain_af8e29.flac", "tap": "running_tap_67d2d4.flac"}
# The model of the two sounds is trained on this share of each recording, the first.
TRAINED_SHARE = 0.5
SOUND_RATE_HZ = 16_000


@dataclass(frozen=True)
class LongRecording:
    """A recording with its events.

    model    the model that is asked: digits, keywords or sounds
    borders  whether the events' borders are those of the sounds, not of clips with pauses in them
    """

    path: Path
    events: tuple[SoundEvent, ...]
    model: str = "digits"
    borders: bool = True

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Pool:
    """Clips to draw from: a file with its label each."""

    clips: tuple[tuple[Path, str], ...]
    rate_hz: int

    def draw(self, count: int, seed: int) -> list[tuple[str, Waveform]]:
        """Different clips in random order, each with its label."""
        chosen = np.random.default_rng(seed).choice(len(self.clips), count, replace=False)
        drawn = (self.clips[position] for position in chosen)
        return [(label, read_mono(path, self.rate_hz)) for path, label in drawn]


def compose_all(data: Path, folder: Path, names: Sequence[str]) -> Iterator[LongRecording]:
    """Write the named recordings of ``RECORDINGS`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        yield RECORDINGS[name](data, folder / f"{name}.wav")


def spaced_digits(data: Path, path: Path) -> LongRecording:
    clips = official_test(data).draw(160, seed=1)
    return write(path, *join(clips, 8_000, (0.4, 2.5), seed=1), 8_000)


def close_digits(data: Path, path: Path) -> LongRecording:
    clips = official_test(data).draw(220, seed=2)
    return write(path, *join(clips, 8_000, (0.15, 0.6), seed=2), 8_000)


def noisy_digits(data: Path, path: Path) -> LongRecording:
    """The noise is below the words' mean power; the quiet words are below the noise."""
    clips = official_test(data).draw(160, seed=1)
    return in_white_noise(clips, path)


def noisy_even_digits(data: Path, path: Path) -> LongRecording:
    """All words are equally loud, so each is as far above the noise."""
    clips = official_test(data).draw(160, seed=1)
    return in_white_noise([(label, at_level(clip)) for label, clip in clips], path)


def in_white_noise(clips: Sequence[tuple[str, Waveform]], path: Path) -> LongRecording:
    waveform, events = join(clips, 8_000, (0.4, 2.5), seed=1)
    noise = np.random.default_rng(3).standard_normal(len(waveform)).astype(np.float32)
    return write(path, waveform + at_snr(noise, clips), events, 8_000)


def strangers(data: Path, path: Path) -> LongRecording:
    clips = labelled(data / "voices/digits_dev", SOUND_RATE_HZ).draw(160, seed=4)
    written = write(path, *join(clips, SOUND_RATE_HZ, (0.4, 2.5), seed=4), SOUND_RATE_HZ)
    return LongRecording(written.path, written.events, borders=False)


def other_words(data: Path, path: Path) -> LongRecording:
    """Nothing to find: words that are no digits, by speakers left out of the digit model."""
    held_out = labelled(data / "voices/words", SOUND_RATE_HZ, is_held_out)
    clips = held_out.draw(200, seed=5)
    waveform, _ = join(clips, SOUND_RATE_HZ, (0.1, 0.5), seed=5)
    return LongRecording(write(path, waveform, [], SOUND_RATE_HZ).path, (), borders=False)


def noisy_keywords(data: Path, path: Path) -> LongRecording:
    """Commands of speakers that the model was not trained on, in the noise of a kitchen."""
    pool = labelled(
        data / "keywords",
        SOUND_RATE_HZ,
        lambda row: row["label"] in COMMANDS and is_held_out(row),
    )
    clips = pool.draw(160, seed=6)
    waveform, events = join(clips, SOUND_RATE_HZ, (0.4, 2.5), seed=6)
    kitchen = read_mono(data / "voices/noises/clips/doing_the_dishes_31a653.flac", SOUND_RATE_HZ)
    noise = at_snr(np.resize(kitchen, len(waveform)), clips)
    written = write(path, waveform + noise, events, SOUND_RATE_HZ)
    return LongRecording(written.path, written.events, "keywords", borders=False)


def changing_sounds(data: Path, path: Path) -> LongRecording:
    """Four minutes of two continuous sounds, which change every 5 to 20 s without a pause."""
    generator = np.random.default_rng(7)
    parts: list[Waveform] = []
    events: list[SoundEvent] = []
    at = 0.0
    while at < 240:
        label = list(SOUNDS)[len(events) % 2]
        n_samples = round(generator.uniform(5, 20) * SOUND_RATE_HZ)
        unheard = continuous_sound(data, label)[1]
        part = np.resize(np.roll(unheard, -int(generator.integers(len(unheard)))), n_samples)
        parts.append(part)
        events.append(SoundEvent(at, at + n_samples / SOUND_RATE_HZ, label))
        at = events[-1].end_seconds
    written = write(path, np.concatenate(parts), events, SOUND_RATE_HZ)
    return LongRecording(written.path, written.events, "sounds")


RECORDINGS: dict[str, Callable[[Path, Path], LongRecording]] = {
    "spaced-digits": spaced_digits,
    "close-digits": close_digits,
    "noisy-digits": noisy_digits,
    "noisy-even-digits": noisy_even_digits,
    "strangers": strangers,
    "other-words": other_words,
    "noisy-keywords": noisy_keywords,
    "changing-sounds": changing_sounds,
}


def continuous_sound(data: Path, label: str) -> tuple[Waveform, Waveform]:
    """The stretches of a sound to train on and to test on, at one level."""
    sound = read_mono(data / "voices/noises/clips" / SOUNDS[label], SOUND_RATE_HZ)
    sound = np.float32(0.1) * sound / np.sqrt(np.mean(sound**2))
    border = round(TRAINED_SHARE * len(sound))
    return sound[:border], sound[border:]


def official_test(data: Path) -> Pool:
    """The official test recordings of FSDD."""
    rows = read_rows(data / "fsdd/labels_full.csv")
    folder = data / "fsdd/recordings"
    clips = [(folder / row["filename"], row["label"]) for row in rows if row["split"] == "test"]
    return Pool(tuple(clips), 8_000)


def labelled(
    folder: Path, rate_hz: int, wanted: Callable[[dict[str, str]], bool] = lambda row: True
) -> Pool:
    """The clips of a folder with a labels.csv."""
    rows = filter(wanted, read_rows(folder / "labels.csv"))
    return Pool(tuple((folder / row["filename"], row["label"]) for row in rows), rate_hz)


def is_held_out(row: dict[str, str]) -> bool:
    """Whether a speaker is one of the fifth that no model here is trained on."""
    digest = hashlib.sha256(row["speaker"].encode()).digest()
    return bool(row["speaker"]) and int.from_bytes(digest[:4]) % 5 == 0


def read_rows(labels_csv: Path) -> list[dict[str, str]]:
    with labels_csv.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_mono(path: Path, rate_hz: int) -> Waveform:
    sound, own_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Waveform = soxr.resample(sound.mean(axis=1), own_rate_hz, rate_hz).astype(np.float32)
    return mono


def join(
    clips: Sequence[tuple[str, Waveform]], rate_hz: int, pauses: tuple[float, float], seed: int
) -> tuple[Waveform, list[SoundEvent]]:
    """Clips one after another with pauses (shortest, longest, in seconds) in a quiet room."""
    generator = np.random.default_rng(seed)
    parts: list[Waveform] = []
    events: list[SoundEvent] = []
    at = 0
    for label, clip in clips:
        pause = round(generator.uniform(*pauses) * rate_hz)
        parts += [np.zeros(pause, np.float32), clip]
        start = at + pause
        at = start + len(clip)
        events.append(SoundEvent(start / rate_hz, at / rate_hz, label))
    parts.append(np.zeros(rate_hz, np.float32))
    joined = np.concatenate(parts)
    room = ROOM_LEVEL * generator.standard_normal(len(joined)).astype(np.float32)
    return joined + room, events


def at_level(clip: Waveform) -> Waveform:
    """A clip (samples,) with a root mean square of 0.1."""
    levelled: Waveform = (0.1 * clip / np.sqrt(np.mean(clip**2))).astype(np.float32)
    return levelled


def at_snr(noise: Waveform, clips: Sequence[tuple[str, Waveform]]) -> Waveform:
    """Noise (samples,) at ``SNR_DB`` below the mean power of all clips."""
    power = np.mean(np.concatenate([clip for _, clip in clips]) ** 2)
    wanted = power / 10 ** (SNR_DB / 10)
    scaled: Waveform = (noise * np.sqrt(wanted / np.mean(noise**2))).astype(np.float32)
    return scaled


def write(
    path: Path, waveform: Waveform, events: Sequence[SoundEvent], rate_hz: int
) -> LongRecording:
    """Write a recording and its label track."""
    peak = float(np.abs(waveform).max())
    soundfile.write(path, waveform / max(1.0, peak), rate_hz, subtype="PCM_16")
    lines = [track_line(e.start_seconds, e.end_seconds, e.label) for e in events]
    path.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
    return LongRecording(path, tuple(events))
