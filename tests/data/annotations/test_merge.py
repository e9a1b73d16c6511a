"""Merging labels CSVs: identical audio is one clip; a rule resolves conflicting labels."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.conflicts import ConflictRule
from earful.data.annotations.merge import merge_tables
from earful.data.annotations.summary import raise_on_problems
from earful.data.labels.csv_options import PLAIN_CSV
from tests.fixtures.synthetic_audio import RATE_HZ, noise, tone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings; copies of the first under another name and in another container."""
    samples = np.rint(tone("mid") * 32767).astype(np.int16)
    for name in ("base/a.wav", "new/renamed.wav", "new/flac.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, samples, RATE_HZ)
    soundfile.write(tmp_path / "base" / "b.wav", tone("low"), RATE_HZ)
    soundfile.write(tmp_path / "base" / "long.wav", noise(2.0, 0.1), RATE_HZ)
    return tmp_path


def table(folder: Path, name: str, *rows: str, columns: str = "") -> Path:
    path = folder / name
    path.write_text("\n".join([f"filename,label{columns}", *rows]) + "\n", encoding="utf-8")
    return path


def merge(*tables: Path, rule: ConflictRule = "latest") -> AnnotationSet:
    return merge_tables(tables, PLAIN_CSV, rule)


def file_labels(found: AnnotationSet) -> list[tuple[str, str]]:
    return [(annotation.path.name, annotation.label) for annotation in found.annotations]


def test_correction_wins_and_the_row_keeps_its_speaker_and_split(folder: Path) -> None:
    base = table(folder, "base/l.csv", "a.wav,x,ann,test", "b.wav,y,bob,", columns=",speaker,split")
    more = ",source,annotator,annotated_at,annotation_id"
    new = table(folder, "new/l.csv", "renamed.wav,z,page,cat,2026-01-01,9", columns=more)
    found = merge(base, new)
    assert file_labels(found) == [("renamed.wav", "z"), ("b.wav", "y")]
    first, second = found.annotations
    assert (first.speaker, first.split) == ("ann", "test")
    assert vars(first.provenance) == {
        "source": "page",
        "annotator": "cat",
        "annotated_at": "2026-01-01",
        "annotation_id": "9",
    }
    assert second.provenance.source == "csv:l.csv"
    [superseded] = found.superseded
    assert (
        str(superseded) == f"{base}, line 2: 'x' is superseded by 'z' of {new}, line 2 (the latest)"
    )


@pytest.mark.parametrize(
    ("rule", "kept", "reason"),
    [
        ("latest", "y", "the last in order at equal times"),
        ("first", "x", "the first in order"),
        ("majority", "x", "2 of 3 annotations agree"),
    ],
)
def test_conflict_rule_picks_the_label(
    folder: Path, rule: ConflictRule, kept: str, reason: str
) -> None:
    base = table(folder, "base/l.csv", "a.wav,x")
    new = table(folder, "new/l.csv", "flac.flac,x", "renamed.wav,y")
    found = merge(base, new, rule=rule)
    assert [annotation.label for annotation in found.annotations] == [kept]
    assert {item.reason for item in found.superseded} == {reason}
    assert len(found.superseded) + len(found.duplicates) == 2
    with pytest.raises(AnnotationError, match=r"(?s)--resolve.*'x', but .*'y'"):
        merge(base, new, rule="error")


def test_segments_with_different_times_are_distinct_clips(folder: Path) -> None:
    rows = ["long.wav,x,0,1", "long.wav,y,1,2", "long.wav,w,,", "b.wav,v,,"]
    base = table(folder, "base/l.csv", *rows, columns=",start,end")
    whole = table(folder, "base/w.csv", "long.wav,whole,0,2", columns=",start,end")
    found = merge(base, whole)
    assert [a.label for a in found.annotations] == ["x", "y", "whole", "v"]
    # 0 s to the end equals the whole file
    assert [superseded.label for superseded in found.superseded] == ["w"]


def test_unusable_rows_are_listed_and_the_rest_is_merged(folder: Path) -> None:
    (folder / "base" / "broken.wav").write_bytes(b"RIFF")
    rows = ["a.wav,x,1", "gone.wav,y,2", "broken.wav,y,3", ",y,4"]
    found = merge(table(folder, "base/l.csv", *rows, columns=",mood"))
    assert file_labels(found) == [("a.wav", "x")]
    assert sorted(p.code for p in found.problems) == [
        "bad_row",
        "missing_file",
        "unsupported_format",
    ]
    base = folder / "base" / "l.csv"
    assert found.notes[-1] == f"{base}: ignored columns: mood"
    assert found.notes[0].startswith(f"{base}: 1 of 3 files are not in {base.parent}")
    with pytest.raises(AnnotationError, match=r"nothing was written(?s:.*)note: .*1 of 3 files"):
        raise_on_problems(found, skip_bad=False)


def test_columns_read_under_other_names_are_said_and_are_not_ignored(folder: Path) -> None:
    csv_path = folder / "base" / "l.csv"
    csv_path.write_text("filename,category,mood\na.wav,x,1\nb.wav,y,2\n")
    assert merge(csv_path).notes == [
        f"{csv_path}: read: filename from 'filename', label from 'category'",
        f"{csv_path}: ignored columns: mood",
    ]


def test_same_audio_in_two_splits_is_reported(folder: Path) -> None:
    base = table(folder, "base/l.csv", "a.wav,x,test", columns=",split")
    new = table(folder, "new/l.csv", "renamed.wav,x,train", columns=",split")
    [note] = merge(base, new).notes
    assert "two splits" in note
    assert "(test)" in note
    assert "(train)" in note
