"""File names that attack the terminal or the spreadsheet of the person who classifies them."""

import csv
import io
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.data.labels.labels_csv import read_labels
from earful.service.batch.results import read_results
from tests.fixtures.forked_command import ForkedCommand
from tests.fixtures.synthetic_audio import tone, wav

Process = Callable[..., "subprocess.CompletedProcess[str]"]
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e.wav"
FORMULA = "=HYPERLINK(1).wav"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with both files, so that their names stand alone in their cells."""
    place = tmp_path / "names"
    place.mkdir()
    for name in (ESCAPE, FORMULA):
        (place / name).write_bytes(wav(tone("low")))
    (place / "\x1b[31mbroken.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(place)
    return place


def run_on_terminal(*arguments: object) -> str:
    """What a terminal is sent by the command on stdout and stderr."""
    master, slave = pty.openpty()
    with ForkedCommand(arguments, stdout=slave, stderr=slave) as process:
        os.close(slave)
        parts = []
        while True:
            try:
                part = os.read(master, 1 << 16)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            parts.append(part)
        process.wait(60)
    os.close(master)
    return b"".join(parts).decode()


def test_names_do_not_command_a_terminal(folder: Path, model: Path) -> None:
    shown = run_on_terminal("classify", ".", "--model", model, "missing\x1b[2J.wav")
    rows = [line for line in shown.splitlines() if ".wav" in line]
    assert len(rows) >= 4
    for line in rows:
        # Colours and lines of the progress bar are our own; no row holds an escape.
        assert "\x1b]" not in line
        assert "\x1b[2J" not in line
        assert "\x1b[31mbroken" not in line
        assert not {"\x9b", "\u202e", "\x07"} & set(line)
    assert "\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u202e.wav" in shown


def test_error_sentences_do_not_command_a_terminal(tmp_path: Path, process: Process) -> None:
    name = tmp_path / "no\x1b[2Jmodel.onnx"
    refused = process("classify", tmp_path, "--model", name, code=2)
    assert "\x1b" not in refused.stderr
    assert "no\\u001b[2Jmodel.onnx" in refused.stderr
    assert "\x1b[2J" not in process("classify\x1b[2J", code=2).stderr


def test_piped_results_keep_names_as_they_are(folder: Path, process: Process, model: Path) -> None:
    done = process("classify", ESCAPE, FORMULA, "--model", model)
    names = {row["filename"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert names == {ESCAPE, f"'{FORMULA}"}


@pytest.mark.slow
def test_formulas_are_marked_and_read_back(
    folder: Path, process: Process, model: Path, tmp_path: Path
) -> None:
    marked, plain = tmp_path / "marked.csv", tmp_path / "plain.csv"
    for out, flags in ((marked, []), (plain, ["--no-escape"])):
        process("classify", FORMULA, "--model", model, "--out", out, *flags)
    assert f"\n'{FORMULA}," in marked.read_text("utf-8")
    assert f"\n{FORMULA}," in plain.read_text("utf-8")
    for out in (marked, plain):
        assert [row.filename for row in read_results(out)] == [FORMULA]
    labels = folder / "labels.csv"
    labels.write_text(f"filename,label\n'{FORMULA},low\n", encoding="utf-8")
    [clip] = read_labels(labels).clips
    assert clip.path == folder / FORMULA
