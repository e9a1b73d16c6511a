"""Corrections are listed with who made them, and one voice overrules no curated label."""

import dataclasses
import random
from pathlib import Path
from typing import Any

from earful.data.labels.clip import Clip, Provenance
from earful.service.core.label_changes import MAX_LISTED_CHANGES, LabelChange
from earful.training.retraining.corrections import relabel, split_overruling
from earful.training.retraining.plan import Plan, RetrainOptions, hash_request, make_plan
from tests.training.retraining.test_plan import BASE, new_clip, row

ANNA: dict[str, Any] = {"provenance": Provenance("feedback", "anna"), "may_overrule": False}
TWO: dict[str, Any] = {"provenance": Provenance("feedback", "anna, bob"), "may_overrule": True}


def spoken_by(origin: dict[str, Any], audio: str, label: str, line: int = 2) -> Clip:
    return dataclasses.replace(new_clip(audio, label, line), **origin)


def plan(base: list[Clip], *new: Clip) -> Plan:
    return make_plan(base, new, (), RetrainOptions(skip_bad=True))


def test_each_changed_label_is_listed_by_file_old_new_and_by_whom() -> None:
    copy = dataclasses.replace(row("a", "yes", "val"), start_seconds=1.5, end_seconds=2.0)
    more = [row(f"z{n}", label) for n, label in enumerate(("yes", "no"))]
    result = plan([*BASE, copy, *more], spoken_by(TWO, "a", "no"), spoken_by(ANNA, "b", "no", 3))
    assert result.changed_labels == (
        LabelChange("/clips/a.wav", None, None, "yes", "no", "anna, bob"),
        LabelChange("/clips/a.wav", 1.5, 2.0, "yes", "no", "anna, bob"),
    )
    assert result.to_dict()["changed_labels"][0] == {
        "filename": "/clips/a.wav",
        "start": None,
        "end": None,
        "old": "yes",
        "new": "no",
        "by": "anna, bob",
    }
    assert "changed: /clips/a.wav from 1.5 to 2 s: yes -> no, by anna, bob" in result.text()


def test_a_long_list_is_cut_in_the_terminal_and_whole_in_json() -> None:
    base = [*BASE, *(row(f"m{n}", "yes") for n in range(30))]
    result = plan(base, *(spoken_by(TWO, f"m{n}", "no", n + 2) for n in range(30)))
    listed = [line for line in result.text().splitlines() if line.startswith("changed: ")]
    assert len(listed) == MAX_LISTED_CHANGES + 1
    assert listed[-1] == "changed: 10 more (--json and report.html list all)"
    assert len(result.to_dict()["changed_labels"]) == 30


def test_names_of_files_and_labels_reach_the_terminal_without_control_characters() -> None:
    change = LabelChange("/x/\x1b[31m.wav", None, None, "\x1b]0;a\x07", "n\no", "an\u202ena")
    assert change.text().isprintable()


def test_one_voice_overrules_no_curated_label_but_one_of_feedback() -> None:
    of_feedback = dataclasses.replace(row("g", "yes"), provenance=Provenance("feedback"))
    corrected = relabel(row("h", "yes"), "no", "feedback")
    base = [*BASE, of_feedback, corrected]
    clips = [
        spoken_by(ANNA, audio, label, n)
        for n, (audio, label) in enumerate(
            [("a", "no"), ("b", "no"), ("g", "no"), ("h", "yes"), ("new", "no"), ("e", "no")], 2
        )
    ]
    used, kept = split_overruling(base, clips)
    # "e" is of the test set, which is refused with a reason of its own.
    assert [clip.audio_hash for clip in used] == ["b", "g", "new", "e"]
    assert [(change.filename, change.old, change.new, change.by) for change in kept] == [
        ("/clips/a.wav", "yes", "no", "anna"),
        ("/clips/h.wav", "no", "yes", "anna"),
    ], "a curated label stays curated when it is corrected"
    trusted = [dataclasses.replace(clip, **TWO) for clip in clips]
    assert split_overruling(base, trusted) == (trusted, ())


def test_a_labels_csv_overrules_and_names_its_row() -> None:
    result = make_plan(
        [*BASE, row("z", "yes")],
        [new_clip("a", "no", 7)],
        (),
        RetrainOptions(),
    )
    assert [change.by for change in result.changed_labels] == ["new.csv, line 7"]
    assert [r.provenance.source for r in result.rows if r.audio_hash == "a"] == [
        "base, corrected by new.csv"
    ]


def test_a_corrected_row_keeps_the_origin_of_its_file() -> None:
    once = relabel(row("a", "yes"), "no", "new.csv")
    twice = relabel(once, "yes", "feedback").provenance
    assert (twice.source, twice.origin) == ("base, corrected by feedback", "base")
    recording = dataclasses.replace(row("a", "yes"), provenance=Provenance("feedback"))
    assert relabel(recording, "no", "feedback").provenance.source == "feedback"
    corrected = relabel(recording, "no", "new.csv")
    assert corrected.provenance.origin == "feedback", "it may still be deleted"


def test_the_same_labels_are_one_request_whatever_their_order_place_and_strictness() -> None:
    clips = [new_clip(f"g{n}", "yes", n) for n in range(5)]
    elsewhere = Path("/elsewhere/x")
    moved = [dataclasses.replace(clip, line=0, path=elsewhere) for clip in clips]
    random.Random(0).shuffle(moved)
    options = RetrainOptions(remove_labels=("a", "b"))
    other_way = RetrainOptions(remove_labels=("b", "a"), skip_bad=True)
    assert hash_request(clips, options) == hash_request(moved, other_way)
    for changed in (RetrainOptions(), dataclasses.replace(options, add_labels=True)):
        assert hash_request(clips, changed) != hash_request(clips, options)
    relabelled = [dataclasses.replace(clips[0], label="no"), *clips[1:]]
    assert hash_request(relabelled, options) != hash_request(clips, options)
