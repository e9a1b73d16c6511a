"""``earful classify``: every input gives a row, and the exit code says how it went."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from earful.data.errors import EarfulError
from earful.service.batch.inputs import find_inputs
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, overlay_at, tone, wav

Earful = Callable[..., Result]
COLUMNS = ["filename", "start", "end", "label", "score", "status", "error"]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_gives_a_row_a_file_with_its_label(
    earful: Earful, model: Path, tones: Path
) -> None:
    done = earful("classify", tones, "--model", model)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == ",".join(COLUMNS)
    found = rows(done.stdout)
    assert [Path(row["filename"]).stem for row in found] == sorted(PITCHES_HZ)
    for row in found:
        assert row["label"] == Path(row["filename"]).stem
        assert 0.8 < float(row["score"]) <= 1
        assert (row["start"], row["end"]) == ("0.000", "0.400")
        assert (row["status"], row["error"]) == ("ok", "")


def test_json_lines_hold_the_same_columns(earful: Earful, model: Path, tones: Path) -> None:
    out = tones / "new" / "r.JSONL"
    (tones / "broken.wav").write_bytes(b"")
    assert earful("classify", tones, "--model", model, "--out", out).exit_code == 1
    bad, *good = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert list(bad) == COLUMNS
    assert bad["status"] == "error"
    assert bad["error"].startswith("empty_audio: ")
    assert [bad[name] for name in ("start", "end", "label", "score")] == [None] * 4
    assert [Path(row["filename"]).stem for row in good] == [row["label"] for row in good]
    assert all(row["status"] == "ok" and row["error"] is None for row in good)


@pytest.mark.slow
def test_top_k_adds_the_next_labels(earful: Earful, model: Path, tones: Path) -> None:
    arguments = ("classify", tones, "--model", model, "--top-k")
    [first, *_] = found = rows(earful(*arguments, 2).stdout)
    assert list(first) == [*COLUMNS, "label_2", "score_2"]
    assert all(float(row["score"]) >= float(row["score_2"]) for row in found)
    assert all({row["label"], row["label_2"]} <= set(PITCHES_HZ) for row in found)
    every = rows(earful(*arguments, 99).stdout)[0]
    assert {every["label"], every["label_2"], every["label_3"]} == set(PITCHES_HZ)
    assert "label_4" not in every
    out = tones / "r.jsonl"
    earful(*arguments, 2, "--out", out)
    ranked = json.loads(out.read_text("utf-8").splitlines()[0])["scores"]
    assert [entry["label"] for entry in ranked] == [first["label"], first["label_2"]]


@pytest.mark.slow
def test_low_scores_become_unknown_only_with_reject(
    earful: Earful, rejecting_model: Path, tones: Path
) -> None:
    (tones / "a.wav").write_bytes(wav(noise(1.0, 0.1)))
    arguments = ("classify", tones, "--model", rejecting_model, "--top-k", 2)
    plain, rejecting = rows(earful(*arguments).stdout), rows(earful(*arguments, "--reject").stdout)
    for before, after in zip(plain, rejecting, strict=True):
        label = "unknown" if float(before["score"]) < 0.9999 else before["label"]
        assert before | {"label": label} == after
    assert plain[0]["label"] in PITCHES_HZ
    assert rejecting[0]["label"] == "unknown"
    out = tones / "r.jsonl"
    earful(*arguments, "--reject", "--out", out)
    first = json.loads(out.read_text("utf-8").splitlines()[0])
    assert first["label"] == "unknown"
    assert first["scores"][0]["label"] == plain[0]["label"]


def test_hidden_files_and_folders_are_passed_over_unless_they_are_named(
    earful: Earful, model: Path, tmp_path: Path
) -> None:
    (tmp_path / ".trash").mkdir()
    for name in ("a.wav", ".trash/b.wav", ".c.wav"):
        (tmp_path / name).write_bytes(wav(tone("mid")))
    (tmp_path / "._a.wav").write_bytes(b"Mac OS X")
    done = earful("classify", tmp_path, "--model", model)
    assert done.exit_code == 0
    assert [Path(row["filename"]).name for row in rows(done.stdout)] == ["a.wav"]
    named = earful("classify", tmp_path / ".c.wav", "--model", model)
    assert len(rows(named.stdout)) == 1


def test_windows_give_a_row_each_in_order_of_time(
    earful: Earful, model: Path, tmp_path: Path
) -> None:
    recording = overlay_at(tone("high"), 1.3, overlay_at(tone("low"), 0.3, noise(2.3, 0.001)))
    (tmp_path / "long.wav").write_bytes(wav(recording))
    (tmp_path / "short.wav").write_bytes(wav(tone("mid")))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    done = earful("classify", tmp_path, "--model", model, "--mode", "windows")
    assert done.exit_code == 1
    failed, *long, short = rows(done.stdout)
    assert failed["status"] == "error"
    times = [(float(row["start"]), float(row["end"])) for row in long]
    assert times == [
        (0, 1),
        (0.25, 1.25),
        (0.5, 1.5),
        (0.75, 1.75),
        (1, 2),
        (1.25, 2.25),
        (1.3, 2.3),
    ]
    assert (long[0]["label"], long[4]["label"]) == ("low", "high")
    assert (short["label"], short["end"]) == ("mid", "0.400")


def make_awkward(folder: Path) -> dict[str, str]:
    """Inputs of every sort; what is expected of each: a label, or the code of its error."""
    good = wav(tone("mid"))
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "dir.wav").mkdir()
    (folder / "sub" / "deeper" / "UPPER.WAV").write_bytes(good)
    (folder / "dir.wav" / "inside.wav").write_bytes(good)
    (folder / 'new\nline,"quoted".wav').write_bytes(good)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes(good)
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(good[:-100])
    (folder / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "notes.txt").write_text("no audio", encoding="utf-8")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dangling.wav").symlink_to(folder / "gone.wav")
    (folder / "link.wav").symlink_to(folder / "dir.wav" / "inside.wav")
    os.mkfifo(folder / "pipe.wav")
    return {
        "UPPER.WAV": "mid",
        "inside.wav": "mid",
        'new\nline,"quoted".wav': "mid",
        "caf\\xe9.wav": "mid",
        "link.wav": "mid",
        "nothing.wav": "empty_audio",
        "cut.wav": "truncated",
        "picture.wav": "unsupported_format",
        "dangling.wav": "not_found",
        "pipe.wav": "not_found",
    }


@pytest.mark.slow
def test_every_input_gives_exactly_one_row(earful: Earful, model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "r.csv"
    folder.mkdir()
    expected = make_awkward(folder)
    missing, too_long = tmp_path / "missing.wav", tmp_path / ("x" * 300)
    done = earful("classify", folder, missing, too_long, "--model", model, "--out", out)
    assert done.exit_code == 1
    assert "5 of 12 files classified, 7 failed" in done.stderr
    expected |= {"missing.wav": "not_found", too_long.name: "unreadable"}
    with out.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(expected)
    rows_by_name = {row["filename"].rpartition("/")[2]: row for row in found}
    for name, wanted in expected.items():
        row = rows_by_name[name]
        assert (row["label"] or row["error"].partition(":")[0]) == wanted, name
        assert row["status"] == ("ok" if row["label"] else "error")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_and_folder_give_a_row(earful: Earful, model: Path, tones: Path) -> None:
    (tones / "low.wav").chmod(0)
    (tones / "locked").mkdir(0)
    done = earful("classify", tones, "--model", model)
    assert done.exit_code == 1
    high, locked, low, mid = rows(done.stdout)
    assert (high["status"], mid["status"]) == ("ok", "ok")
    assert low["error"].startswith("unreadable: ")
    assert locked["error"].startswith("unreadable: a folder")


def test_files_come_in_the_order_given_and_folders_by_name(tones: Path) -> None:
    last = tones / "a.mp3"
    last.touch()
    high, low, mid = (tones / f"{name}.wav" for name in ("high", "low", "mid"))
    found = [Path(each.location) for each in find_inputs([str(mid), str(tones), str(mid)])]
    assert found == [mid, last, high, low, mid, mid]


def refused_cases(model: Path, tones: Path) -> dict[str, tuple[list[Any], str]]:
    (tones / "empty").mkdir()
    (tones / "notes.csv").write_text("kept", encoding="utf-8")
    return {
        "suffix": ([tones, "--model", model, "--out", tones / "r.txt"], r"\.csv or \.jsonl"),
        "no suffix": ([tones, "--model", model, "--out", tones / "r"], r"\.csv or \.jsonl"),
        "nothing": ([tones / "empty", "--model", model], "no audio file"),
        "no model": ([tones, "--model", tones / "none.onnx"], "no model file"),
        "bad model": ([tones, "--model", tones / "low.wav"], "not a usable ONNX model"),
    }


@pytest.mark.parametrize("name", ["suffix", "no suffix", "nothing", "no model", "bad model"])
def test_invalid_requests_are_refused_and_write_nothing(
    earful: Earful, model: Path, tones: Path, name: str
) -> None:
    arguments, message = refused_cases(model, tones)[name]
    before = sorted(tones.rglob("*"))
    done = earful("classify", *arguments)
    assert isinstance(done.exception, EarfulError)
    with pytest.raises(EarfulError, match=message):
        raise done.exception
    assert sorted(tones.rglob("*")) == before
    assert done.stdout == ""


def test_an_out_that_is_a_folder_is_refused_and_left_alone(
    earful: Earful, model: Path, tones: Path
) -> None:
    folder = tones / "r.csv"
    folder.mkdir()
    done = earful("classify", tones, "--model", model, "--out", folder)
    assert "is a folder" in str(done.exception)
    assert list(folder.iterdir()) == []


def test_results_are_replaced_atomically_without_leftovers(
    earful: Earful, model: Path, tones: Path
) -> None:
    out = tones / "r.csv"
    out.write_text("earlier\n" * 1000, encoding="utf-8")
    assert earful("classify", tones, "--model", model, "--out", out).exit_code == 0
    assert len(rows(out.read_text("utf-8"))) == len(PITCHES_HZ)
    kept = tones / "r.csv.job"
    assert sorted(p.name for p in kept.iterdir()) == ["job.json", "lock"]
    beside = set(tones.iterdir()) - {out, kept}
    assert {p.suffix for p in beside} == {".wav"}
