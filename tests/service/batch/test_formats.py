"""The output formats, each read back by a third-party library."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import crowsetta
import pandas as pd
import pytest
from pyarrow import parquet

from earful.data.errors import EarfulError
from earful.service.batch.formats import RowLayout, open_writer, output_format
from earful.service.batch.rows import ResultRow
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav
from tests.service.batch.conftest import rows

# Seconds of the calls in a/day.wav.
CALLS = {"low": (1.0, 1.4), "high": (4.0, 4.4)}

Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def field_recordings(tmp_path: Path) -> Path:
    """Two calls in one recording, silence, equal file names in two folders, and a broken file."""
    folder = tmp_path / "field"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    calls = overlay_at(tone("low"), 1.0, overlay_at(tone("high"), 4.0, noise(6.0, 0.001)))
    (folder / "a" / "day.wav").write_bytes(wav(calls))
    (folder / "b" / "day.wav").write_bytes(wav(noise(6.0, 0.001)))
    (folder / "b" / "day.flac").write_bytes(b"fLaC")
    (folder / "tab\tand\nline.wav").write_bytes(wav(tone("mid")))
    (folder / "a" / "call.aif").write_bytes(wav(tone("mid")))
    (folder / "a" / "call.txt").mkdir()
    (folder / "a" / "call.txt" / "carriage\rreturn.wav").write_bytes(wav(tone("mid")))
    return folder


def classify(process: Process, model: Path, field_recordings: Path, *arguments: object) -> None:
    process("classify", field_recordings, "--model", model, *arguments, code=1)


def test_audacity_tracks(
    process: Process, model: Path, field_recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tracks"
    classify(process, model, field_recordings, "--out", out, "--format", "audacity")
    track = crowsetta.formats.seq.AudSeq.from_file(out / "a" / "day.txt").to_seq()
    hits = list(zip(track.onsets_s, track.offsets_s, track.labels, strict=True))
    assert [label for _, _, label in hits] == list(CALLS)
    for (start, end, _), call in zip(hits, CALLS.values(), strict=True):
        assert (start, end) == pytest.approx(call, abs=0.06)
    assert (out / "b" / "day.txt").read_text("utf-8") == ""
    assert (out / "tab and line.txt").read_text("utf-8").count("\n") == 1
    assert (out / "a" / "call.txt_" / "carriage return.txt").is_file()
    index = rows(out / "index.csv")
    assert any(row["filename"].endswith("carriage\rreturn.wav") for row in index)
    assert [row["status"] for row in index].count("error") == 1
    assert {Path(row["filename"]).suffix for row in index} == {".wav", ".flac", ".aif"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # in crowsetta
def test_raven_tables(
    process: Process, model: Path, field_recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tables"
    classify(process, model, field_recordings, "--out", out, "--format", "raven")
    path = out / "a" / "day.selections.txt"
    table = crowsetta.formats.bbox.Raven.from_file(path, annot_col="Label").to_bbox()
    assert [box.label for box in table] == list(CALLS)
    for box, call in zip(table, CALLS.values(), strict=True):
        assert (box.onset, box.offset) == pytest.approx(call, abs=0.06)
    assert {box.high_freq for box in table} == {4000.0}
    frame = pd.read_csv(path, sep="\t")
    assert frame["Selection"].tolist() == list(range(1, len(frame) + 1))
    assert set(frame["Begin Path"]) == {str(field_recordings / "a" / "day.wav")}
    assert frame["File Offset (s)"].tolist() == frame["Begin Time (s)"].tolist()
    classify(process, model, field_recordings, "--out", out, "--format", "raven", "--restart")
    state = tmp_path / "tables.job" / "job.json"
    killed = json.loads(state.read_text("utf-8")) | {"results": None, "stats": None}
    state.write_text(json.dumps(killed), encoding="utf-8")  # as after a kill at the last rename
    classify(process, model, field_recordings, "--out", out, "--format", "raven")
    (out / "note.txt").write_text("mine", encoding="utf-8")
    options = ["--model", model, "--out", out, "--format", "raven", "--restart"]
    refused = process("classify", field_recordings, *options, code=2)
    assert "added or changed since" in refused.stderr
    assert (out / "note.txt").exists()


@pytest.mark.slow
def test_parquet_csv_and_json_lines_hold_the_same(
    process: Process, model: Path, field_recordings: Path, tmp_path: Path
) -> None:
    frames = []
    for suffix, read in (("csv", pd.read_csv), ("jsonl", read_json), ("parquet", pd.read_parquet)):
        out = tmp_path / f"r.{suffix}"
        classify(process, model, field_recordings, "--out", out)
        frame = read(out)  # type: ignore[operator]
        frames.append(frame.astype({"start": float, "end": float, "score": float}))
    for other in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], other, check_dtype=False)
    schema = parquet.read_schema(tmp_path / "r.parquet")
    text, number = "string", "double"
    assert [str(kind) for kind in schema.types[:5]] == [text, number, number, text, number]


def read_json(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True)


def test_colliding_output_names_are_made_unique(tmp_path: Path) -> None:
    place = tmp_path / "tracks"
    names = ["x/day.wav", "x/day.flac", "x/day.wav", "x/day.wav"]
    with open_writer(place, RowLayout("audacity", common_folder=Path())) as writer:
        for number, name in enumerate(names):
            writer.write(ResultRow(name, 0.0, 1.0, f"l{number}", 1.0, (("l", 1.0),)))
    tracks = {path.name: path.read_text("utf-8") for path in (place / "x").iterdir()}
    labels = {name: text.split()[2::3] for name, text in tracks.items()}
    assert labels == {"day.txt": ["l0"], "day.flac.txt": ["l1"], "day.wav.txt": ["l2", "l3"]}


@pytest.mark.parametrize(("format_name", "lines"), [("audacity", 0), ("raven", 1)])
def test_a_recording_without_a_hit_has_an_empty_track(
    tmp_path: Path, format_name: str, lines: int
) -> None:
    with open_writer(tmp_path / "tracks", RowLayout(format_name)) as writer:
        writer.write(ResultRow("day.wav", 0.0, 60.0))
        writer.write(ResultRow("broken.wav", error="empty_audio: 0 bytes"))
    [track] = (tmp_path / "tracks").glob("*.txt")
    assert track.name.startswith("day.")
    assert len(track.read_text("utf-8").splitlines()) == lines
    statuses = [row["status"] for row in rows(tmp_path / "tracks" / "index.csv")]
    assert statuses == ["ok", "error"]


def test_recording_outside_the_base_folder_is_written_inside_the_output_folder(
    tmp_path: Path,
) -> None:
    place = tmp_path / "tracks"
    with open_writer(place, RowLayout("raven", common_folder=tmp_path / "deep" / "down")) as writer:
        writer.write(ResultRow("/../../etc/passwd.wav", 0.0, 1.0, "l", 1.0, (("l", 1.0),)))
    [table] = place.rglob("*.selections.txt")
    assert place in table.parents


def test_names_that_are_too_long_with_a_suffix_are_shortened(tmp_path: Path) -> None:
    names = [f"{'x' * 240}{n}.wav" for n in range(2)] + ["\\xff" * 63 + ".wav"]
    with open_writer(tmp_path / "tables", RowLayout("raven", common_folder=Path())) as writer:
        for name in names:
            writer.write(ResultRow(name, 0.0, 1.0, "l", 1.0, (("l", 1.0),)))
    assert len(list((tmp_path / "tables").glob("*.selections.txt"))) == 3


@pytest.mark.parametrize(
    ("out", "requested", "message"),
    [("r.xls", None, "found 'r.xls'"), ("r.csv", "xls", "formats are"), (None, "raven", "--out")],
)
def test_unknown_formats_are_refused(out: str | None, requested: str | None, message: str) -> None:
    with pytest.raises(EarfulError, match=message):
        output_format(None if out is None else Path(out), requested)


def test_foreign_output_paths_are_left_alone(
    process: Process, model: Path, field_recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "index.csv").write_text("mine", encoding="utf-8")
    for place, message in (
        ("taken", "does not hold earlier results"),
        ("field/a/day.wav", "is not a folder"),
    ):
        arguments = ["--out", tmp_path / place, "--format", "raven", "--model", model]
        refused = process("classify", field_recordings, *arguments, "--restart", code=2)
        assert message in refused.stderr
    assert (tmp_path / "taken" / "index.csv").read_text("utf-8") == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["field", "taken"]
