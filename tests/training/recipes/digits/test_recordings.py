"""The recordings of the digit models: no person is in two parts, nothing without a licence."""

from pathlib import Path

import pytest

from earful.data.labels.clip import Clip
from earful.data.labels.labels_csv import read_labels
from earful.training.recipes.digits.recordings import (
    FSDD_SPEAKERS,
    read_digits,
    read_negatives,
    write_list,
)
from tests.conftest import RECORDINGS

VOICES = RECORDINGS / "voices"


@pytest.fixture(scope="module", autouse=True)
def voices() -> Path:
    if not (VOICES / "digits" / "labels.csv").is_file():
        pytest.skip(f"needs the real recordings in {VOICES}")
    return VOICES


def speakers(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.speaker for clip in clips}


@pytest.mark.slow
def test_validation_speakers_are_strangers(fsdd: Path) -> None:
    clips = read_digits(fsdd, VOICES).clips
    parts = {split: tuple(c for c in clips if c.split == split) for split in ("train", "val")}
    assert not speakers(parts["train"]) & speakers(parts["val"])
    assert not set(FSDD_SPEAKERS) & speakers(parts["val"])
    assert not speakers(read_negatives(VOICES).train.clips) & speakers(parts["val"])
    assert len(parts["val"]) > 300
    assert {c.label for c in parts["val"]} == set("0123456789")
    assert sum(c.split == "test" for c in clips) == 300


def test_held_out_words_and_noises_are_by_others() -> None:
    negatives = read_negatives(VOICES)
    trained = speakers(negatives.train.clips)
    assert not trained & speakers(negatives.held_out_words)
    kinds = {clip.path.name.rpartition("_")[0] for clip in negatives.train.clips}
    held_out = [clip.path.name.rpartition("_")[0] for clip in negatives.held_out_noises]
    assert held_out  # one recording is there under two names of the same kind
    assert not kinds & set(held_out)
    assert {clip.label for clip in negatives.train.clips} == {"word", "noise"}
    unlicensed = [clip for clip in negatives.train.clips if "bg_noise" in clip.filename]
    assert not unlicensed


def test_list_of_held_out_clips_is_a_labels_csv(tmp_path: Path) -> None:
    negatives = read_negatives(VOICES)
    write_list(negatives.held_out_noises, tmp_path / "noises.csv")
    read = read_labels(tmp_path / "noises.csv")
    assert [clip.path.name for clip in read.clips] == [
        clip.path.name for clip in negatives.held_out_noises
    ]
    assert all(clip.path.is_file() for clip in read.clips)
