"""Label Studio's JSON-MIN and CSV exports: the label fields, and provenance."""

import json
from pathlib import Path
from typing import Any

import pytest

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.read_sources import ImportOptions, read_sources
from tests.fixtures.synthetic_audio import tone, wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    for name in ("a.wav", "old.wav"):
        (tmp_path / "audio" / name).write_bytes(wav(tone("mid", 0.1)))
    return tmp_path / "audio"


def read(folder: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> AnnotationSet:
    source = folder.parent / "export.json"
    source.write_text(json.dumps(rows), encoding="utf-8")
    return read_sources([source], ImportOptions(audio_dir=folder, label_columns=columns))


MIN = {"audio": "a.wav", "id": 1, "annotator": 4, "updated_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ([MIN | {"label": "seven", "note": "x"}], (), ["seven"]),
        ([MIN | {"word": "seven"}], (), ["seven"]),
        ([MIN | {"word": "seven", "mood": "good"}], ("word",), ["seven"]),
        ([MIN | {"e": [{"start": 0, "end": 1, "labels": ["a"]}], "t": "x"}], (), ["a"]),
        ([MIN | {"label": "old"}, MIN | {"label": "new", "updated_at": "2026-02-01"}], (), ["new"]),
        ([MIN | {"label": ""}, MIN | {"label": "b"}], (), ["b"]),
    ],
)
def test_json_min_label_field_is_selected(
    folder: Path, rows: list[dict[str, Any]], columns: tuple[str, ...], expected: list[str]
) -> None:
    annotations = read(folder, rows, columns).annotations
    assert [annotation.label for annotation in annotations] == expected


@pytest.mark.parametrize(
    ("fields", "columns", "message"),
    [
        (
            {"word": "seven", "mood": "good"},
            (),
            "--label-column; it has 'mood', 'word'|'word', 'mood'",
        ),
        ({"word": "seven"}, ("label",), "no field 'label'; it has"),
    ],
)
def test_ambiguous_json_min_labels_are_refused(
    folder: Path, fields: dict[str, str], columns: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AnnotationError, match=message):
        read(folder, [MIN | fields], columns)


@pytest.mark.slow
def test_csv_as_label_studio_writes_it(folder: Path) -> None:
    source = folder.parent / "export.csv"
    regions = json.dumps([{"start": 0.5, "end": n, "labels": ["é"]} for n in range(1, 5000)])
    source.write_text(
        "audio,id,label,annotator,annotation_id,created_at,updated_at,lead_time\n"
        f'a.wav,1,"{regions.replace(chr(34), chr(34) * 2)}",2,9,x,2026-01-01T00:00:00Z,3.5\n'
        "old.wav,2,,2,10,,,\n",
        encoding="utf-8-sig",
    )
    found = read_sources([source], ImportOptions(audio_dir=folder))
    assert len(found.annotations) == 4999  # more than the default cell limit of csv
    assert {a.provenance.annotation_id for a in found.annotations} == {"9"}
    assert [problem.code for problem in found.skipped] == ["unlabelled"]
