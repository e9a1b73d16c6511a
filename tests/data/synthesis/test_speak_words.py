"""Synthetic clips: distinct speakers, reproducible output, nothing left behind on errors."""

import csv
import hashlib
from pathlib import Path

import pytest
import soundfile

from earful.data.atomic_write import OutputError
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.espeak import SynthesisError
from earful.data.synthesis.speak_words import (
    ENGLISH_ACCENTS,
    FEMALE_VARIANTS,
    MALE_VARIANTS,
    draw_voices,
    write_synthetic_clips,
)

pytest.importorskip("espeakng_loader", reason="needs the extra synth")


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(words: list[str], out: Path, seed: int = 3) -> Path:
    return write_synthetic_clips(
        words, out, voices=3, repetitions=2, seed=seed, sample_rate_hz=8000
    )


def test_drawn_speakers_are_distinct_reproducible_and_half_female() -> None:
    voices = draw_voices(60, seed=1)
    assert voices == draw_voices(60, seed=1)
    assert voices != draw_voices(60, seed=2)
    assert len({voice.name for voice in voices}) == 60
    assert sum(voice.variant in FEMALE_VARIANTS for voice in voices) == 30
    assert {voice.language for voice in voices} == set(ENGLISH_ACCENTS)


def test_all_speakers_can_be_drawn_and_no_more() -> None:
    most = len(ENGLISH_ACCENTS) * (len(FEMALE_VARIANTS) + len(MALE_VARIANTS))
    assert len({voice.name for voice in draw_voices(most, seed=0)}) == most
    for n in (0, most + 1):
        with pytest.raises(SynthesisError, match=f"1 to {most}"):
            draw_voices(n, seed=0)


def test_csv_lists_every_word_by_every_speaker(tmp_path: Path) -> None:
    progress_calls: list[tuple[int, int]] = []
    path = write_synthetic_clips(
        ["on/off", "zéro=zero", "!=bang", "7=seven"],
        tmp_path / "new" / "clips of mine",
        voices=3,
        repetitions=2,
        seed=3,
        sample_rate_hz=16000,
        progress=lambda done, total: progress_calls.append((done, total)),
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["filename", "label", "speaker"]
    assert progress_calls == [(done, 24) for done in range(1, 25)]
    names = [voice.name for voice in draw_voices(3, seed=3)]
    expected = [(w, s) for w in ("on/off", "zéro", "!", "7") for s in names for _ in range(2)]
    assert [(row["label"], row["speaker"]) for row in rows] == expected
    files = {p.relative_to(path.parent).as_posix() for p in path.parent.glob("clips/*.wav")}
    assert {row["filename"] for row in rows} == files
    assert len(files) == 24
    for name in files:
        info = soundfile.info(path.parent / name)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert info.duration > 0.2
    assert [p.name for p in path.parent.parent.iterdir()] == ["clips of mine"]


def test_label_text_does_not_change_the_speech(tmp_path: Path) -> None:
    write(["7=seven"], tmp_path / "a")
    write(["seven"], tmp_path / "b")
    spoken = [sorted(h for n, h in digest(tmp_path / f).items() if "wav" in n) for f in "ab"]
    assert spoken[0] == spoken[1]


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(["six", "vision"], tmp_path / name, seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    repetitions = [h for n, h in digest(tmp_path / "a").items() if "wav" in n]
    assert len(set(repetitions)) == len(repetitions) == 12


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["seven", "###"], "###"),
        (["seven", "x=😀"], "😀"),
        (["seven", "seven"], "seven"),
        (["7=seven", "7"], "7"),
        (["=seven"], "=seven"),
        (["7="], "7="),
        (["a" * 300], "aaa"),
        ([], "no words"),
    ],
)
def test_refused_words_leave_nothing_behind(tmp_path: Path, words: list[str], named: str) -> None:
    with pytest.raises(SynthesisError, match=named):
        write(words, tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_clips(
            ["one", "two"],
            tmp_path / "out",
            voices=2,
            repetitions=2,
            seed=0,
            sample_rate_hz=8000,
            progress=interrupt,
        )
    assert list(tmp_path.iterdir()) == []


def test_foreign_folder_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("filename,label\n")  # as of real recordings
    with pytest.raises(OutputError, match=r"synthesis\.json is missing"):
        write(["one"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert write(["one"], tmp_path / "out").is_file()


def test_earlier_clips_are_replaced_atomically(tmp_path: Path) -> None:
    write(["one", "two"], tmp_path / "out")
    write(["six"], tmp_path / "out")
    write(["six"], tmp_path / "fresh")
    assert digest(tmp_path / "out") == digest(tmp_path / "fresh")


def test_csv_is_a_valid_labels_csv(tmp_path: Path) -> None:
    clips = read_labels(write(["six", "0=zero"], tmp_path / "out")).clips
    assert {clip.label for clip in clips} == {"six", "0"}
    assert all(clip.path.is_file() and clip.speaker for clip in clips)
