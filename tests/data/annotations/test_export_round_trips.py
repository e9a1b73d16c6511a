"""Exports are read back unchanged, and third-party readers agree."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import crowsetta
import pytest

from earful.data.annotations.annotation import AnnotationError, AnnotationSet, validate_annotation
from earful.data.annotations.export import ExportFormat, export_labels
from earful.data.annotations.read_sources import ImportOptions, detect_format, read_sources
from earful.data.annotations.summary import summary_dict
from earful.data.annotations.table import read_table, write_table
from earful.data.atomic_write import OutputError
from earful.data.labels.clip import Clip, Provenance

OUT_NAMES: dict[ExportFormat, str] = {
    "label-studio": "o.json",
    "label-studio-min": "m.json",
    "label-studio-csv": "c.csv",
    "audacity": "tracks",
    "raven": "tables",
    "folders": "folders",
}


def export(
    annotations: Iterable[Clip], form: ExportFormat, out: Path, folder: Path
) -> AnnotationSet:
    checked = [validate_annotation(annotation) for annotation in annotations]
    good = [annotation for annotation in checked if isinstance(annotation, Clip)]
    return export_labels(AnnotationSet(good), form, out, folder=folder)


def label_and_times(annotation: Clip) -> tuple[Any, ...]:
    """The recording, the label and its times."""
    times = annotation.start_seconds, annotation.end_seconds
    return annotation.path.resolve(), annotation.label, *times


def all_fields(annotation: Clip) -> tuple[Any, ...]:
    return *label_and_times(annotation), annotation.speaker, annotation.split, annotation.provenance


@pytest.mark.parametrize("form", [f for f in get_args(ExportFormat) if f != "folders"])
@pytest.mark.parametrize("kind", ["clip_annotations", "segment_annotations"])
def test_labels_round_trip_unchanged(
    form: ExportFormat, kind: str, request: pytest.FixtureRequest, recordings: Path, tmp_path: Path
) -> None:
    annotations: list[Clip] = request.getfixturevalue(kind)
    out = tmp_path / OUT_NAMES[form]
    written = export(annotations, form, out, recordings)
    assert detect_format(out) == form
    back = read_sources([out], ImportOptions(audio_dir=recordings))
    assert back.problems == []
    # Tracks and tasks are ordered differently.
    assert sorted(map(label_and_times, back.annotations), key=str) == sorted(
        map(label_and_times, written.annotations), key=str
    )
    if form.startswith("label-studio"):
        expected = [
            all_fields(replace(a, provenance=_with_source(a, out, form)))
            for a in written.annotations
        ]
        assert [all_fields(a) for a in back.annotations] == expected


def _with_source(annotation: Clip, out: Path, form: str) -> Provenance:
    """A label without a source has the file it is read from as its source."""
    if annotation.provenance.source:
        return annotation.provenance
    return replace(annotation.provenance, source=f"{form}:{out.name}")


@pytest.mark.parametrize("hard_links", [False, True])
def test_folders_contain_the_recordings(
    clip_annotations: list[Clip], recordings: Path, tmp_path: Path, hard_links: bool
) -> None:
    out = tmp_path / "folders"
    twice = [
        *clip_annotations,
        replace(clip_annotations[3], path=recordings / "a.wav", label=clip_annotations[3].label),
    ]
    export_labels(AnnotationSet(twice), "folders", out, folder=recordings, hard_links=hard_links)
    back = read_sources([out], ImportOptions())
    assert (back.problems, back.skipped) == ([], [])
    contents = sorted((a.label, a.path.read_bytes()) for a in back.annotations)
    assert contents == sorted((a.label, a.path.read_bytes()) for a in twice)
    names = {p.name for p in out.iterdir()}
    assert {"%2E%2E", "%43%4F%4E", "a%252Fb", "50%25", "é%2Fö"} <= names
    assert not any(set('\\:*?"<>|') & set(name) for name in names)
    assert {p.name for p in (out / "{%22choices%22%3A [%22x%22]}").iterdir()} == {
        "a.wav",
        "a-2.wav",
    }
    index = read_table(out / "exported.csv")
    assert [a.provenance for a in index.annotations] == [a.provenance for a in twice]
    linked = {path.stat().st_nlink > 1 for path in out.rglob("*.wav")}
    assert linked == {hard_links}


def test_labels_csv_round_trips_unchanged(clip_annotations: list[Clip], recordings: Path) -> None:
    out = recordings / "labels.csv"
    mixed = [*clip_annotations, replace(clip_annotations[0], start_seconds=0.1, end_seconds=0.2)]
    write_table(mixed, out)
    try:
        back = read_table(out)
        assert [all_fields(a) for a in back.annotations] == [all_fields(a) for a in mixed]
        assert out.read_text("utf-8").splitlines()[1].startswith("a.wav,10,")
        with pytest.raises(OutputError, match="--replace"):
            write_table(mixed, out)
        write_table(mixed[:1], out, replace=True)
        assert len(read_table(out).annotations) == 1
    finally:
        out.unlink()


def test_csv_outside_the_audio_folder_uses_absolute_paths(
    clip_annotations: list[Clip], tmp_path: Path
) -> None:
    write_table(clip_annotations, tmp_path / "l.csv")
    assert [label_and_times(a) for a in read_table(tmp_path / "l.csv").annotations] == list(
        map(label_and_times, clip_annotations)
    )


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # in crowsetta
def test_third_party_readers_agree(
    segment_annotations: list[Clip], recordings: Path, tmp_path: Path
) -> None:
    export(segment_annotations, "audacity", tmp_path / "t", recordings)
    export(segment_annotations, "raven", tmp_path / "r", recordings)
    track = crowsetta.formats.seq.AudSeq.from_file(tmp_path / "t" / "b c+d.txt").to_seq()
    assert track.labels.tolist() == ["é/ö"] * 2
    assert track.offsets_s.tolist() == [0.125, 0.3]
    table = tmp_path / "r" / "sub" / "a.flac.selections.txt"
    boxes = crowsetta.formats.bbox.Raven.from_file(table, annot_col="Label").to_bbox()
    assert [(b.onset, b.offset, b.label, b.high_freq) for b in boxes] == [
        (0.0, 0.125, "[1]", 4000.0),
        (0.100001, 0.3, "[1]", 4000.0),
    ]


def test_result_ids_are_unique_and_clip_and_segment_labels_use_separate_controls(
    clip_annotations: list[Clip],
    segment_annotations: list[Clip],
    recordings: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "o.json"
    export([*clip_annotations, *segment_annotations], "label-studio", out, recordings)
    tasks = json.loads(out.read_text("utf-8"))
    results = [r for task in tasks for a in task["annotations"] for r in a["result"]]
    assert len({result["id"] for result in results}) == len(clip_annotations) + len(
        segment_annotations
    )
    assert {(r["from_name"], r["type"]) for r in results} == {
        ("label", "choices"),
        ("event", "labels"),
    }
    with pytest.raises(AnnotationError, match=r"controls 'event', 'label'.*--label-column"):
        read_sources([out], ImportOptions(audio_dir=recordings))
    both = read_sources(
        [out], ImportOptions(audio_dir=recordings, label_columns=("label", "event"))
    )
    assert len(both.annotations) == len(results)


def test_unconfirmed_predictions_are_not_labels(
    clip_annotations: list[Clip], recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.json"
    export_labels(
        AnnotationSet(clip_annotations), "label-studio", out, folder=recordings, as_predictions=True
    )
    [task, *_] = json.loads(out.read_text("utf-8"))
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["10"]}
    found = read_sources([out], ImportOptions(audio_dir=recordings))
    assert (len(found.annotations), len(found.skipped)) == (0, len(clip_annotations))


def test_labels_a_format_cannot_express_are_refused_or_listed(
    clip_annotations: list[Clip],
    segment_annotations: list[Clip],
    recordings: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    mixed = AnnotationSet(
        [clip_annotations[0], segment_annotations[0], replace(clip_annotations[1], label="é" * 200)]
    )
    with pytest.raises(AnnotationError, match="2 labels cannot be used and nothing was written"):
        export_labels(mixed, "folders", out, folder=recordings)
    assert not out.exists()
    again = AnnotationSet(mixed.annotations)
    written = export_labels(again, "folders", out, folder=recordings, skip_bad=True)
    assert [p["code"] for p in summary_dict(written)["problems"]] == ["segment", "bad_label"]
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["10"]
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="already exists"):
        export_labels(AnnotationSet(clip_annotations), "folders", out, folder=recordings)
    with pytest.raises(AnnotationError, match="outside"):
        export_labels(
            AnnotationSet(clip_annotations), "label-studio", tmp_path / "o.json", folder=tmp_path
        )
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(AnnotationError, match=r"unsupported_format"):
        export([Clip(0, "x", broken, "y")], "audacity", tmp_path / "t", tmp_path)
