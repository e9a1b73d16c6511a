"""Datasets small enough to train on in seconds: tones of three pitches, with noise."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.speak_words import write_synthetic_clips

PITCHES_HZ = {"low": 220.0, "mid": 523.0, "high": 1244.0}
CLIPS_PER_LABEL = 20
RATE_HZ = 8_000
DIGIT_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
OTHER_WORDS = [
    "yes",
    "no",
    "stop",
    "go",
    "left",
    "right",
    "up",
    "down",
    "window",
    "garden",
    "monday",
    "fire",
    "water",
]


def write_tones(folder: Path, seed: int = 7, speaker: str = "speaker") -> Path:
    """Write sixty half-second tones of three labels and four speakers; return their labels CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    lines = ["filename,label,speaker"]
    for label, pitch_hz in PITCHES_HZ.items():
        for n in range(CLIPS_PER_LABEL):
            tone = np.sin(2 * np.pi * pitch_hz * generator.uniform(0.95, 1.05) * time)
            tone += 0.1 * generator.standard_normal(len(time))
            name = f"{label}_{n}.wav"
            soundfile.write(folder / name, 0.3 * tone, RATE_HZ)
            lines.append(f"{name},{label},{speaker}{n % 4}")
    csv_path = folder / "labels.csv"
    csv_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return csv_path


@pytest.fixture(scope="session")
def tones_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="session")
def tones(tones_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare_tones(tones_csv, tmp_path_factory.mktemp("dataset") / "tones")


@pytest.fixture(scope="session")
def short_tones(tones_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same clips without the padding of half a second: half the frames to compute."""
    return prepare_tones(tones_csv, tmp_path_factory.mktemp("dataset") / "short", 0.5)


@pytest.fixture(scope="session")
def brief_tones(tones_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The loudest quarter of a second of each, too little for cnn.

    The exporter writes the steps of a recurrent network out, so they are most of its time.
    """
    return prepare_tones(tones_csv, tmp_path_factory.mktemp("dataset") / "brief", 0.25)


@pytest.fixture(scope="session")
def other_tones(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same labels, other clips, other speakers."""
    folder = tmp_path_factory.mktemp("other")
    return prepare_tones(write_tones(folder / "wav", seed=8, speaker="other"), folder / "dataset")


def prepare_tones(csv_path: Path, folder: Path, clip_seconds: float = 1.0) -> Dataset:
    features = FeatureConfig.for_rate(RATE_HZ, clip_seconds=clip_seconds)
    prepare(read_labels(csv_path), folder, features=features, split="random")
    return open_dataset(folder)


@pytest.fixture(scope="session")
def spoken_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labels CSV of digits by four synthetic voices."""
    words = [f"{n}={word}" for n, word in enumerate(DIGIT_WORDS)]
    return speak(words, tmp_path_factory.mktemp("digits") / "spoken")


@pytest.fixture(scope="session")
def spoken_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labels CSV of words that are no digits, by four synthetic voices."""
    return speak(OTHER_WORDS, tmp_path_factory.mktemp("words") / "spoken")


def speak(words: Sequence[str], folder: Path) -> Path:
    pytest.importorskip("espeakng_loader", reason="needs the extra synth")
    return write_synthetic_clips(
        words, folder, voices=4, repetitions=1, seed=5, sample_rate_hz=RATE_HZ
    )


@pytest.fixture
def two_torch_threads() -> Iterator[None]:
    """As many threads as the smallest machines have; elsewhere the tests have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
