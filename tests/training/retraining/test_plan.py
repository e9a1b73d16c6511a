"""Retraining plan: clips are identified by audio, and audio of the test set is never trained on."""

import dataclasses
from pathlib import Path

import pytest

from earful.data.labels.clip import Clip, Provenance
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import from_csv, to_csv
from earful.training.retraining.plan import Plan, RetrainOptions, make_plan


def row(audio: str, label: str, split: str = "train", speaker: str = "anna") -> Clip:
    path = Path(f"/clips/{audio}.wav")
    return Clip(
        0,
        str(path),
        path,
        label,
        speaker,
        split,
        sha256=f"file-{audio}",
        audio_hash=audio,
        provenance=Provenance("base"),
    )


def new_clip(audio: str, label: str, line: int = 2, split: str = "", speaker: str = "") -> Clip:
    path = Path(f"/new/{line}.wav")
    return Clip(
        line,
        path.name,
        path,
        label,
        speaker,
        split,
        sha256=f"new-{audio}",
        audio_hash=audio,
        provenance=Provenance("new.csv", f"new.csv, line {line}"),
    )


BASE = [
    row("a", "yes"),
    row("b", "no"),
    row("c", "yes", "val"),
    row("d", "no", "val"),
    row("e", "yes", "test"),
    row("f", "no", "test"),
]


def plan(*new: Clip, **options: object) -> Plan:
    return make_plan(BASE, new, (), dataclasses.replace(RetrainOptions(), **options))  # type: ignore[arg-type]


def test_new_audio_is_added_and_known_audio_is_not() -> None:
    result = plan(new_clip("g", "yes"), new_clip("a", "yes", 3))
    assert (result.added, result.duplicates, result.corrected) == (1, 1, 0)
    assert result.new == {"g"}
    assert result.rows[:6] == tuple(BASE)
    assert result.rows[6].split == "train"
    assert result.rows[6].provenance.source == "new.csv"


def test_different_label_for_known_audio_is_a_correction_in_place() -> None:
    new = [new_clip("a", "no"), new_clip("c", "no", 3)]
    result = make_plan([*BASE, row("z", "yes")], new, (), RetrainOptions())
    assert (result.added, result.corrected) == (0, 2)
    assert [(r.audio_hash, r.label, r.split) for r in result.rows[:3]] == [
        ("a", "no", "train"),
        ("b", "no", "train"),
        ("c", "no", "val"),
    ]
    assert result.new == {"a"}, "validation clips are not trained on"


@pytest.mark.parametrize("label", ["yes", "no"])
def test_audio_from_the_test_set_is_refused_or_skipped(label: str) -> None:
    with pytest.raises(TrainingError, match=r"line 2.*its audio is in the frozen test set .e\.wav"):
        plan(new_clip("e", label), new_clip("g", "yes", 3))
    result = plan(new_clip("e", label), new_clip("g", "yes", 3), skip_bad=True)
    assert [problem.code for problem in result.problems] == ["in_test_set"]
    assert result.rows[4] == BASE[4], "its label is unchanged"
    assert "e" not in result.new


def test_overlapping_segment_of_a_test_recording_is_refused() -> None:
    base = [*BASE[:5], dataclasses.replace(BASE[5], start_seconds=1.0, end_seconds=2.0)]

    def segment(audio: str, start: float, end: float) -> Clip:
        clip = Clip(2, "x.wav", Path("/x.wav"), "no", "", "", start, end)
        return dataclasses.replace(clip, sha256=base[5].sha256, audio_hash=audio)

    result = make_plan(
        base,
        [segment("g", 1.5, 3.0), segment("h", 2.0, 3.0)],
        (),
        RetrainOptions(skip_bad=True),
    )
    assert ([p.code for p in result.problems], result.new) == (["in_test_set"], {"h"})


def test_held_out_clip_is_recognised_when_submitted_again() -> None:
    base = [*BASE, dataclasses.replace(row("g", "no", "test"), provenance=Provenance("new.csv"))]
    result = make_plan(base, [new_clip("g", "no")], (), RetrainOptions())
    assert (result.duplicates, result.has_changes) == (1, False)
    with pytest.raises(TrainingError, match="frozen test set"):
        make_plan(base, [new_clip("g", "yes")], (), RetrainOptions())


def test_correction_changes_every_row_of_the_same_audio_in_place() -> None:
    base = [
        *BASE,
        row("z", "yes"),
        dataclasses.replace(row("a", "yes", "val"), path=Path("/clips/copy.wav")),
    ]
    result = make_plan(base, [new_clip("a", "no")], (), RetrainOptions())
    assert [(r.path.name, r.label, r.split) for r in result.rows if r.audio_hash == "a"] == [
        ("a.wav", "no", "train"),
        ("copy.wav", "no", "val"),
    ]


def test_base_clips_with_audio_of_a_test_clip_are_not_trained_on() -> None:
    result = make_plan([*BASE, row("e", "yes")], [new_clip("g", "no")], (), RetrainOptions())
    assert result.leaked_clips == 1
    assert [r.split for r in result.rows if r.audio_hash == "e"] == ["test"]


def test_missing_test_set_is_refused() -> None:
    with pytest.raises(TrainingError, match="no row with split=test"):
        make_plan(BASE[:4], [new_clip("g", "no")], (), RetrainOptions())


def test_whole_speakers_of_a_new_label_are_held_out() -> None:
    new = [new_clip(f"g{n}", "maybe", n + 2, speaker=f"s{n % 5}") for n in range(20)]
    result = plan(*new, add_labels=True)
    by_split = {
        split: {r.speaker for r in result.rows if r.label == "maybe" and r.split == split}
        for split in ("train", "val", "test")
    }
    assert by_split["test"]
    assert not by_split["test"] & (by_split["train"] | by_split["val"])


def test_audio_with_two_labels_is_refused_or_skipped() -> None:
    new = [
        new_clip("g", "yes", 2),
        new_clip("g", "no", 3),
        new_clip("h", "no", 4),
        new_clip("h", "no", 5),
    ]
    with pytest.raises(
        TrainingError, match=r"labelled 'no', but the same audio in line 2, 2\.wav is 'yes'"
    ):
        plan(*new)
    result = plan(*new, skip_bad=True)
    assert (result.added, result.duplicates) == (1, 1)
    assert "g" not in {r.audio_hash for r in result.rows}


def test_unknown_label_requires_add_labels() -> None:
    with pytest.raises(
        TrainingError,
        match=r"unknown labels: 'maybe' .the first: line 2.*The model has no, yes; .*--add-l",
    ):
        plan(new_clip("g", "maybe"))
    result = plan(new_clip("g", "maybe"), new_clip("h", "no", 3), skip_bad=True)
    assert [(p.line, p.code) for p in result.problems] == [(2, "unknown_label")]
    assert result.labels == ("no", "yes")
    two = [new_clip("g", "maybe"), new_clip("h", "maybe", 3)]
    assert plan(*two, add_labels=True).labels == ("maybe", "no", "yes")
    with pytest.raises(
        TrainingError, match=r"'maybe' would have 1 clips, too few .*corrected by new\.csv"
    ):
        plan(new_clip("a", "maybe"), add_labels=True)  # relabels the only clip


def test_some_clips_of_a_new_label_are_held_out_unless_a_split_is_given() -> None:
    new = [new_clip(f"g{n}", "maybe", n + 2) for n in range(20)]
    result = plan(*new, add_labels=True)
    splits = [r.split for r in result.rows if r.label == "maybe"]
    assert (splits.count("test"), splits.count("val"), splits.count("train")) == (4, 2, 14)
    assert len(result.new) == 14
    again = plan(*reversed(new), add_labels=True)
    assert {(r.audio_hash, r.split) for r in again.rows} == {
        (r.audio_hash, r.split) for r in result.rows
    }
    result = plan(new_clip("g", "maybe", split="test"), new_clip("h", "maybe", 3), add_labels=True)
    assert [r.split for r in result.rows[6:]] == ["test", "train"]


def test_removed_label_loses_all_its_clips() -> None:
    base = [*BASE, row("x", "maybe"), row("y", "maybe", "test")]
    result = make_plan(base, (), (), RetrainOptions(remove_labels=("maybe",)))
    assert result.removed == 2
    assert result.labels == ("no", "yes")
    with pytest.raises(
        TrainingError, match="no label 'maybee' to remove; the model has maybe, no, yes"
    ):
        make_plan(base, (), (), RetrainOptions(remove_labels=("maybee",)))
    with pytest.raises(TrainingError, match="fewer than two labels"):
        plan(remove_labels=("no",))


def test_new_clips_of_a_test_speaker_are_reported() -> None:
    result = plan(new_clip("g", "yes", speaker="anna"))
    assert result.speakers_in_test_set == ("anna",)
    assert "no longer measures accuracy on unknown speakers" in result.text()


def test_data_csv_round_trips() -> None:
    name = '/a "b",\n.wav'
    special = dataclasses.replace(
        BASE[0],
        filename=name,
        path=Path(name),
        label="ä;",
        start_seconds=0.1,
        end_seconds=1 / 3,
    )
    rows = [*BASE, special]
    assert from_csv(to_csv(rows), "here") == rows
    for damage in (b"filename\n1\n", b"\xff", to_csv(rows).replace(b"0.1,", b"soon,")):
        with pytest.raises(TrainingError, match="the data of here is damaged"):
            from_csv(damage, "here")
