"""What a retraining would do: sounds are known by what is heard, and test sounds stay out."""

import dataclasses
from pathlib import Path

import pytest

from earful.data.labels.labels_csv import Clip
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import DataRow, from_csv, to_csv
from earful.training.retraining.plan import Heard, Options, Plan, make_plan


def row(audio: str, label: str, split: str = "train", speaker: str = "anna") -> DataRow:
    path = Path(f"/clips/{audio}.wav")
    return DataRow(path, label, speaker, split, None, None, f"file-{audio}", audio, "base")


def new_clip(audio: str, label: str, line: int = 2, split: str = "", speaker: str = "") -> Heard:
    path = Path(f"/new/{line}.wav")
    return Heard(Clip(line, path.name, path, label, speaker, split), f"new-{audio}", audio)


BASE = [
    row("a", "yes"), row("b", "no"), row("c", "yes", "val"), row("d", "no", "val"),
    row("e", "yes", "test"), row("f", "no", "test"),
]  # fmt: skip


def plan(*new: Heard, **options: object) -> Plan:
    return make_plan(BASE, new, (), dataclasses.replace(Options(), **options), "new.csv")  # type: ignore[arg-type]


def test_new_audio_is_added_and_known_audio_is_not() -> None:
    found = plan(new_clip("g", "yes"), new_clip("a", "yes", 3))
    assert (found.added, found.duplicates, found.corrected) == (1, 1, 0)
    assert found.new == {"g"}
    assert found.rows[:6] == tuple(BASE)
    assert found.rows[6].split == "train"
    assert found.rows[6].source == "new.csv"


def test_different_label_for_known_audio_is_a_correction_in_place() -> None:
    new = [new_clip("a", "no"), new_clip("c", "no", 3)]
    found = make_plan([*BASE, row("z", "yes")], new, (), Options(), "new.csv")
    assert (found.added, found.corrected) == (0, 2)
    assert [(r.audio, r.label, r.split) for r in found.rows[:3]] == [
        ("a", "no", "train"), ("b", "no", "train"), ("c", "no", "val"),
    ]  # fmt: skip
    assert found.new == {"a"}, "what is validated on is not trained on"


@pytest.mark.parametrize("label", ["yes", "no"])
def test_audio_from_the_test_set_is_refused_or_skipped(label: str) -> None:
    with pytest.raises(TrainingError, match=r"line 2.*e\.wav, which the frozen test set holds"):
        plan(new_clip("e", label), new_clip("g", "yes", 3))
    found = plan(new_clip("e", label), new_clip("g", "yes", 3), skip_bad=True)
    assert [problem.code for problem in found.problems] == ["in_test_set"]
    assert found.rows[4] == BASE[4], "its label is as it was"
    assert "e" not in found.new


def test_overlapping_segment_of_a_test_recording_is_refused() -> None:
    base = [*BASE[:5], dataclasses.replace(BASE[5], start_seconds=1.0, end_seconds=2.0)]

    def piece(audio: str, start: float, end: float) -> Heard:
        clip = Clip(2, "x.wav", Path("/x.wav"), "no", "", "", start, end)
        return Heard(clip, base[5].sha256, audio)

    found = make_plan(
        base, [piece("g", 1.5, 3.0), piece("h", 2.0, 3.0)], (), Options(skip_bad=True), "new.csv"
    )
    assert ([p.code for p in found.problems], found.new) == (["in_test_set"], {"h"})


def test_held_out_clip_is_recognised_when_submitted_again() -> None:
    base = [*BASE, dataclasses.replace(row("g", "no", "test"), source="new.csv")]
    found = make_plan(base, [new_clip("g", "no")], (), Options(), "new.csv")
    assert (found.duplicates, found.changes) == (1, False)
    with pytest.raises(TrainingError, match="frozen test set"):
        make_plan(base, [new_clip("g", "yes")], (), Options(), "new.csv")


def test_correction_changes_every_row_of_the_same_audio_in_place() -> None:
    twice = [
        *BASE,
        row("z", "yes"),
        dataclasses.replace(row("a", "yes", "val"), path=Path("/clips/copy.wav")),
    ]
    found = make_plan(twice, [new_clip("a", "no")], (), Options(), "new.csv")
    assert [(r.path.name, r.label, r.split) for r in found.rows if r.audio == "a"] == [
        ("a.wav", "no", "train"), ("copy.wav", "no", "val"),
    ]  # fmt: skip


def test_base_clips_that_sound_like_test_clips_are_not_trained_on() -> None:
    found = make_plan([*BASE, row("e", "yes")], [new_clip("g", "no")], (), Options(), "new.csv")
    assert found.leaked == 1
    assert [r.split for r in found.rows if r.audio == "e"] == ["test"]


def test_missing_test_set_is_refused_before_anything_is_done() -> None:
    with pytest.raises(TrainingError, match="no row with split=test"):
        make_plan(BASE[:4], [new_clip("g", "no")], (), Options(), "new.csv")


def test_whole_speakers_of_a_new_label_are_held_back_where_there_are_enough() -> None:
    new = [new_clip(f"g{n}", "maybe", n + 2, speaker=f"s{n % 5}") for n in range(20)]
    found = plan(*new, add_labels=True)
    by_split = {
        split: {r.speaker for r in found.rows if r.label == "maybe" and r.split == split}
        for split in ("train", "val", "test")
    }
    assert by_split["test"]
    assert not by_split["test"] & (by_split["train"] | by_split["val"])


def test_audio_with_two_labels_is_refused_or_skipped() -> None:
    new = [new_clip("g", "yes", 2), new_clip("g", "no", 3), new_clip("h", "no", 4), new_clip("h", "no", 5)]
    with pytest.raises(TrainingError, match=r"labelled 'no', and as line 2, 2\.wav 'yes'"):
        plan(*new)
    found = plan(*new, skip_bad=True)
    assert (found.added, found.duplicates) == (1, 1)
    assert "g" not in {r.audio for r in found.rows}


def test_unknown_label_requires_add_labels() -> None:
    with pytest.raises(
        TrainingError, match=r"know: 'maybe' .the first: line 2.*It knows no, yes; .*--add-l"
    ):
        plan(new_clip("g", "maybe"))
    found = plan(new_clip("g", "maybe"), new_clip("h", "no", 3), skip_bad=True)
    assert [(p.line, p.code) for p in found.problems] == [(2, "unknown_label")]
    assert found.labels == ("no", "yes")
    two = [new_clip("g", "maybe"), new_clip("h", "maybe", 3)]
    assert plan(*two, add_labels=True).labels == ("maybe", "no", "yes")
    with pytest.raises(TrainingError, match=r"'maybe' would have 1 clips, too few .*from new\.csv"):
        plan(new_clip("a", "maybe"), add_labels=True)  # a correction


def test_some_clips_of_a_new_label_are_held_out_unless_a_split_is_given() -> None:
    new = [new_clip(f"g{n}", "maybe", n + 2) for n in range(20)]
    found = plan(*new, add_labels=True)
    splits = [r.split for r in found.rows if r.label == "maybe"]
    assert (splits.count("test"), splits.count("val"), splits.count("train")) == (4, 2, 14)
    assert len(found.new) == 14
    again = plan(*reversed(new), add_labels=True)
    assert {(r.audio, r.split) for r in again.rows} == {(r.audio, r.split) for r in found.rows}
    result = plan(new_clip("g", "maybe", split="test"), new_clip("h", "maybe", 3), add_labels=True)
    assert [r.split for r in result.rows[6:]] == ["test", "train"]


def test_removed_label_loses_all_its_clips() -> None:
    base = [*BASE, row("x", "maybe"), row("y", "maybe", "test")]
    found = make_plan(base, (), (), Options(remove_labels=("maybe",)), "")
    assert found.removed == 2
    assert found.labels == ("no", "yes")
    with pytest.raises(
        TrainingError, match="no label 'maybee' to remove; there are maybe, no, yes"
    ):
        make_plan(base, (), (), Options(remove_labels=("maybee",)), "")
    with pytest.raises(TrainingError, match="fewer than two labels"):
        plan(remove_labels=("no",))


def test_new_clips_of_a_test_speaker_are_reported() -> None:
    found = plan(new_clip("g", "yes", speaker="anna"))
    assert found.heard_before == ("anna",)
    assert "no longer says how new voices fare" in found.text()


def test_data_csv_of_a_version_round_trips() -> None:
    odd = dataclasses.replace(
        BASE[0], path=Path('/a "b",\n.wav'), label="ä;", start_seconds=0.1, end_seconds=1 / 3
    )
    rows = [*BASE, odd]
    assert from_csv(to_csv(rows), "here") == rows
    for damage in (b"filename\n1\n", b"\xff", to_csv(rows).replace(b"0.1,", b"soon,")):
        with pytest.raises(TrainingError, match="the data of here is damaged"):
            from_csv(damage, "here")
