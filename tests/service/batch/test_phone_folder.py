"""A folder of phone recordings: every file of sound gives a row, read or reported."""

import csv
from collections.abc import Callable
from pathlib import Path

import soxr
from typer.testing import Result

from earful.data.audio.containers import detect_container
from earful.service.batch.inputs import find_inputs
from earful.service.feedback.audio_files import MEDIA_TYPES, suffix_of
from tests.fixtures.media_files import MEDIA_KINDS, encode_media
from tests.fixtures.synthetic_audio import tone, wav


def test_every_recording_of_a_folder_has_a_row(
    earful: Callable[..., Result], model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    for name, kind in MEDIA_KINDS.items():
        samples = soxr.resample(tone("low"), 8_000, kind.rate_hz)
        (folder / name).write_bytes(encode_media(name, samples))
    (folder / "b.wav").write_bytes(wav(tone("low")))
    (folder / "c.wv").write_bytes(b"wvpk" + bytes(100))
    (folder / "notes.txt").write_text("no sound")
    out = tmp_path / "results.csv"
    result = earful("classify", str(folder), "--model", str(model), "--out", str(out))
    assert result.exit_code == 1
    lines = out.read_text(encoding="utf-8").splitlines()
    rows = {Path(row["filename"]).name: row for row in csv.DictReader(lines)}
    assert set(rows) == {*MEDIA_KINDS, "b.wav", "c.wv"}
    assert {row["label"] for name, row in rows.items() if name != "c.wv"} == {"low"}
    assert "WavPack" in rows["c.wv"]["error"]


def test_saved_recordings_of_every_format_have_a_suffix_and_a_media_type() -> None:
    for name in MEDIA_KINDS:
        blob = encode_media(name, soxr.resample(tone("low"), 8_000, MEDIA_KINDS[name].rate_hz))
        assert suffix_of(blob) in MEDIA_TYPES
        assert detect_container(blob) == Path(name).suffix[1:].upper()


def test_files_with_the_suffix_of_any_sound_are_found(tmp_path: Path) -> None:
    names = ["a.m4a", "b.M4B", "c.sph", "d.awb", "e.webm", "f.3GP", "g.wma", "h.ape", "i.aac"]
    for name in [*names, "j.txt", "k.png", ".hidden.m4a"]:
        (tmp_path / name).write_bytes(b"x")
    assert [Path(found.location).name for found in find_inputs([str(tmp_path)])] == names
