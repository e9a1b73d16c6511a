"""Inputs of ``classify``: files, folders, globs, lists, URLs, standard input, and bad ones."""

import contextlib
import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from earful.data.errors import EarfulError
from earful.data.labels.csv_options import CsvOptions
from earful.service.batch import inputs
from earful.service.batch.inputs import find_inputs
from tests.fixtures.failing_store import URL, StoreError, register_failing_store
from tests.fixtures.synthetic_audio import RATE_HZ, noise, tone, wav
from tests.service.batch.conftest import rows

Process = Callable[..., "subprocess.CompletedProcess[str]"]


def names(*paths: object, audio_dir: Path | None = None) -> list[str]:
    sources = find_inputs([str(path) for path in paths], CsvOptions(audio_dir))
    return [Path(source.location).name for source in sources]


def test_a_store_that_fails_is_a_sentence_and_a_fault_in_a_program_is_not() -> None:
    register_failing_store(StoreError("no route to the store"))
    with pytest.raises(EarfulError, match=f"cannot read {URL}: StoreError: no route to the store"):
        names(URL)
    register_failing_store(TypeError("a fault"))
    with pytest.raises(TypeError, match="a fault"):
        names(URL)


def test_globs(tones: Path) -> None:
    (tones / "sub").mkdir()
    (tones / "sub" / "d.wav").touch()
    (tones / "odd[1].wav").touch()
    assert names(tones / "*.wav") == ["high.wav", "low.wav", "mid.wav", "odd[1].wav"]
    assert names(tones / "**" / "[a-l]*.wav") == ["high.wav", "low.wav", "d.wav"]
    assert names(tones / "s*") == ["d.wav"]
    (tones / "sub" / "loop").symlink_to(tones, target_is_directory=True)
    everything = ["high.wav", "low.wav", "mid.wav", "odd[1].wav", "d.wav"]
    assert names(tones / "**" / "*.wav") == everything
    assert names(tones / "**") == names(tones / "**" / "*.wav")
    assert names(tones / "**" / "sub" / "?.wav") == ["d.wav"]
    assert names(tones / "**" / "none*") == []
    assert names(tones / "odd[1].wav") == ["odd[1].wav"]


def test_a_list_of_names_is_relative_to_itself_or_to_the_audio_folder(
    tones: Path, tmp_path: Path
) -> None:
    (tones / "list.txt").write_bytes(b"low.wav\r\n\n  \nmid.wav\n")
    sources = list(find_inputs([str(tones / "list.txt")]))
    expected = [str(tones / "low.wav"), str(tones / "mid.wav")]
    assert [source.location for source in sources] == expected
    assert all(source.n_bytes > 0 for source in sources)
    (tones / "bom.txt").write_bytes(b"\xef\xbb\xbflow.wav")
    assert names(tones / "bom.txt") == ["low.wav"]
    (tmp_path / "nul.lst").write_bytes(os.fsencode(tones) + b"/new\nline.wav\0low.wav\0")
    assert names(tmp_path / "nul.lst", audio_dir=tones) == ["new\nline.wav", "low.wav"]


def test_csv_input_gives_segments_and_expected_labels(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    (tones / "long.wav").write_bytes(wav(noise(3.0, 0.001)))
    (tones / "labels.csv").write_text(
        "file;label;start;end\nlow.wav;low;;\nlow.wav;mid;;\nlong.wav;;0.5;1.25\nlong.wav;x;2;9\n;y;;\n",
        encoding="utf-8",
    )
    out = tmp_path / "r.csv"
    process("classify", tones / "labels.csv", "--model", model, "--out", out, code=1)
    written = rows(out)
    assert [row["expected"] for row in written] == ["low", "mid", "", "x", ""]
    assert [row["label"] for row in written[:2]] == ["low", "low"]
    assert (written[2]["start"], written[2]["end"]) == ("0.500", "1.250")
    assert written[3]["error"].startswith("bad_segment: ")
    assert written[4]["error"].startswith("bad_row: line 6")


def test_standard_input_is_a_list_or_audio(process: Process, model: Path, tones: Path) -> None:
    (tones / "list").write_text("low.wav\nmid.wav\n")
    with (tones / "list").open("rb") as names:
        listed = process("classify", "-", "--model", model, stdin=names, cwd=tones)
    assert [line.split(",")[3] for line in listed.stdout.splitlines()[1:]] == ["low", "mid"]
    with (tones / "high.wav").open("rb") as audio:
        result = process("classify", "-", "--model", model, stdin=audio)
    assert result.stdout.splitlines()[1].startswith("-,0.000,0.400,high,")
    with (tones / "high.wav").open("rb") as audio:
        failed = process("classify", "-", tones, "--model", model, stdin=audio, code=2)
    assert "classified alone" in failed.stderr


def test_audio_on_standard_input_is_never_taken_from_an_earlier_run(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    for label in ("low", "high"):
        with (tones / f"{label}.wav").open("rb") as audio:
            process("classify", "-", "--model", model, "--out", tmp_path / "r.csv", stdin=audio)
        assert [row["label"] for row in rows(tmp_path / "r.csv")] == [label]


def test_folder_without_audio_among_other_inputs_gives_a_row(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [tones, tmp_path / "empty", tmp_path / "no*.wav", "--model", model]
    done = process("classify", *arguments, code=1)
    assert "3 of 5 files classified, 2 failed (2 not_found)" in done.stderr


@pytest.mark.slow
def test_segment_of_an_hours_long_recording_is_classified(
    process: Process, model: Path, tmp_path: Path
) -> None:
    waveform = np.zeros(3700 * RATE_HZ, np.float32)
    waveform[3650 * RATE_HZ :][: 4 * RATE_HZ // 10] = tone("high")
    (tmp_path / "long.wav").write_bytes(wav(waveform))
    (tmp_path / "l.csv").write_text("file,start,end\nlong.wav,3650,3650.4\nlong.wav,3650,4000\n")
    out = tmp_path / "r.csv"
    process("classify", tmp_path / "l.csv", "--model", model, "--out", out, code=1)
    good, bad = rows(out)
    assert (good["label"], good["start"]) == ("high", "3650.000")
    assert bad["error"].startswith("bad_segment: ")


def test_path_of_undecodable_bytes_gives_a_row(process: Process, model: Path, tones: Path) -> None:
    (tones / "l.txt").write_bytes(b"low.wav\nnosuch://x/caf\xe9.wav\nmid.wav\n")
    done = process("classify", tones / "l.txt", "--model", model, code=1)
    assert "2 of 3 files classified, 1 failed (1 unreadable)" in done.stderr


def test_more_names_than_fit_into_memory_come_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.wav", "a.wav", "sub.wav", "é.wav", "z\udce9.wav", "Z.wav", "10.wav", "9.wav"):
        (tmp_path / name).touch()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "c.wav").touch()
    in_memory = [source.location for source in find_inputs([str(tmp_path)])]
    monkeypatch.setattr(inputs, "_SORTED_IN_MEMORY", 3)
    assert [source.location for source in find_inputs([str(tmp_path)])] == in_memory
    assert len(in_memory) == 9


def test_symlink_loops_and_dangling_links_are_handled(
    process: Process, model: Path, tones: Path
) -> None:
    (tones / "x.wav").symlink_to(tones / "y.wav")
    (tones / "y.wav").symlink_to(tones / "x.wav")
    (tones / "up").symlink_to(tones, target_is_directory=True)
    done = process("classify", tones, tones / "x.wav", "--model", model, code=1)
    assert "3 of 6 files classified, 3 failed" in done.stderr
    assert done.stdout.count("unreadable: ") == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "cannot read"),
        ("none.txt", None, "cannot read"),
        ("a.csv", "name,label\n", "is needed for the filename"),
        ("a.csv", "\x81\xfe", "UTF-8"),
        ("a.csv", 'file\n"a.wav\n', "fix the quotes"),
    ],
)
def test_unreadable_lists_are_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(EarfulError, match=message):
        list(find_inputs([str(tmp_path / name)]))


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """A web server for the files of a folder; its address."""

    class SilentHandler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    handler = functools.partial(SilentHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_urls_are_classified(process: Process, model: Path, tones: Path, tmp_path: Path) -> None:
    (tones / "long.flac").write_bytes(wav(noise(90.0, 0.01)))
    out = tmp_path / "r.csv"
    with file_server(tones) as address:
        urls = [f"{address}/{name}" for name in ("low.wav", "gone.wav", "long.flac")]
        (tmp_path / "urls.txt").write_text("\n".join(urls), encoding="utf-8")
        process("classify", tmp_path / "urls.txt", "--model", model, "--out", out, code=1)
        first, second, third = rows(out)
        assert (first["label"], first["filename"]) == ("low", urls[0])
        assert second["error"].startswith("not_found: ")
        assert third["end"] == "90.000"
        [again] = process("classify", urls[0], "--model", model).stdout.splitlines()[1:]
        assert ",low," in again
    refused = process("classify", urls[0], "--model", model, code=1)
    assert "unreachable: " in refused.stdout
    failed = process("classify", "nosuch://x/a.wav", "--model", model, code=2)
    assert "nosuch" in failed.stderr


def test_folder_at_a_url_is_listed(tones: Path) -> None:
    (tones / "sub").mkdir()
    (tones / "sub" / "d.wav").write_bytes(wav(tone("low")))
    sources = list(find_inputs([f"file://{tones}"]))
    found_names = [Path(source.location).name for source in sources]
    assert found_names == ["high.wav", "low.wav", "mid.wav", "d.wav"]
    assert all(s.location.startswith("file:///") and s.n_bytes > 0 for s in sources)
    assert names(f"file://{tones}/m*.wav") == ["mid.wav"]
