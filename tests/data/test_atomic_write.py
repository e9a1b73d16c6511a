"""Output appears complete or not at all, and the user's own files are never replaced."""

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earful.data import atomic_write
from earful.data.atomic_write import (
    OutputError,
    replaced_folder,
    require_own_folder,
    staged_file,
    staged_folder,
    write_json,
    write_text,
)

MARKER = "marker.json"


def fill(target: Path, content: str = "new") -> None:
    with staged_folder(target, MARKER) as folder:
        (folder / MARKER).write_text(content)


def fail(target: Path, error: BaseException) -> None:
    with staged_folder(target, MARKER) as folder:
        (folder / MARKER).write_text("half")
        raise error


def fail_file(target: Path) -> None:
    with staged_file(target) as path:
        path.write_text("half")
        raise ValueError("stop")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out"
    with staged_folder(target, MARKER) as folder:
        (folder / MARKER).write_text("x")
        assert not target.exists()
        assert (
            folder.parent.parent == target.parent
        )  # on the same file system, so a rename suffices
    assert names(target) == [MARKER]
    assert names(target.parent) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("earlier", [True, False])
def test_error_leaves_everything_unchanged(
    tmp_path: Path, error: type[BaseException], earlier: bool
) -> None:
    target = tmp_path / "out"
    if earlier:
        fill(target, "old")
    with pytest.raises(error):
        fail(target, error())
    assert names(tmp_path) == (["out"] if earlier else [])
    assert not earlier or (target / MARKER).read_text() == "old"


def test_symlink_target_is_written_through(tmp_path: Path) -> None:
    fill(tmp_path / "disk", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / MARKER).read_text() == "new"
    assert names(tmp_path) == ["disk", "link"]


def test_replaced_folder_is_written_in_place(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for content in ("first", "second"):
        with replaced_folder(target, MARKER):
            assert names(target) == []
            (target / MARKER).write_text(content)
    assert (target / MARKER).read_text() == "second"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("earlier", [True, False])
def test_replaced_folder_restores_earlier_content_on_errors(tmp_path: Path, earlier: bool) -> None:
    target = tmp_path / "out"
    if earlier:
        fill(target, "old")

    def fail_replaced() -> None:
        with replaced_folder(target, MARKER):
            (target / MARKER).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_replaced()
    assert names(tmp_path) == (["out"] if earlier else [])
    assert not earlier or (target / MARKER).read_text() == "old"


def test_replaced_folder_refuses_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    with (
        pytest.raises(OutputError, match="not an earlier result"),
        replaced_folder(tmp_path, MARKER),
    ):
        pass
    assert names(tmp_path) == ["holiday.jpg"]


def test_earlier_result_is_replaced_atomically(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, "old")
    (target / "left-over").write_text("x")
    fill(target)
    assert names(target) == [MARKER]
    assert (target / MARKER).read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out")
    assert names(tmp_path / "out") == [MARKER]


KILLED = """
import os, signal, sys
from pathlib import Path
from earful.data import atomic_write
target, place = Path(sys.argv[1]), sys.argv[2]
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if place == "file":
    with atomic_write.staged_file(target) as path:
        path.write_text("half")
        kill()
with atomic_write.staged_folder(target, "marker.json") as folder:
    (folder / "marker.json").write_text("half")
    if place == "folder":
        kill()
    move_away = atomic_write._move_away
    atomic_write._move_away = lambda *paths: (move_away(*paths), kill())
"""


@pytest.mark.parametrize("place", ["folder", "file", "swap"])
def test_what_a_killed_process_left_is_deleted_by_the_next(tmp_path: Path, place: str) -> None:
    target = tmp_path / "out"
    others = [".out.abcdefgh", ".out.old.20240101", ".out.earful-abcdefgh"]
    for name in others:  # the user's own
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".out.earful-killed01").mkdir()  # before it had a lock
    os.utime(tmp_path / ".out.earful-killed01", (0, 0))
    if place == "swap":
        fill(target, "old")
    command = [sys.executable, "-c", KILLED, str(target), place]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    [left] = set(names(tmp_path)) - {*others, "out"}
    long_ago = time.time() - 60
    os.utime(tmp_path / left, (long_ago, long_ago))
    if place == "file":
        with staged_file(target) as path:
            path.write_text("new")
        assert target.read_text() == "new"
    else:
        with pytest.raises(ValueError, match="stop"):
            fail(target, ValueError("stop"))
        assert target.exists() == (place == "swap")  # the earlier one is back
        fill(target)
        assert (target / MARKER).read_text() == "new"
    assert names(tmp_path) == sorted([*others, "out"])


def test_an_earlier_result_outlives_a_killed_successor_that_was_written_in_place(
    tmp_path: Path,
) -> None:
    target = tmp_path / "out"
    fill(target, "old")
    script = """
import os, signal, sys
from pathlib import Path
from earful.data.atomic_write import replaced_folder
with replaced_folder(Path(sys.argv[1]), "marker.json"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    [left] = tmp_path.glob(".out.earful-*")
    os.utime(left, (0, 0))
    fill(tmp_path / "other")
    assert (left / "earlier" / MARKER).read_text() == "old"
    target.rmdir()  # the user gives up the unfinished one
    fill(tmp_path / "other")
    assert (target / MARKER).read_text() == "old"
    assert names(tmp_path) == ["other", "out"]


def test_what_another_writer_is_about_to_finish_stays(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with staged_folder(target, MARKER) as first:
        (first / MARKER).write_text("first")
        os.utime(first.parent, (0, 0))
        fill(target, "second")
        assert first.is_dir()
    assert (target / MARKER).read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_foreign_target_is_refused_before_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("mine")
    (tmp_path / "trap" / MARKER).mkdir(parents=True)  # a folder named as the marker
    for name in ("file", "folder", "trap"):
        with pytest.raises(OutputError, match=f"{name} exists and is not an earlier result"):
            fill(tmp_path / name)
    assert names(tmp_path) == ["file", "folder", "trap"]
    assert (tmp_path / "folder" / "photo").read_text() == "mine"


def test_impossible_target_is_refused_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file" / "out", tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="cannot write"):
            fill(target)
    assert names(tmp_path) == ["file"]


def test_os_error_inside_the_block_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*out: No space left on device"):
        fail(tmp_path / "out", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert names(tmp_path) == []


def test_output_folder_has_default_permissions(tmp_path: Path) -> None:
    fill(tmp_path / "out")
    (tmp_path / "plain").mkdir()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out", "plain")]
    assert modes[0] == modes[1]


def test_file_appears_only_when_complete_and_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.csv"
    for content in ("first", "second"):
        with staged_file(target) as path:
            path.write_text(content)
        assert target.read_text() == content
    assert names(target.parent) == ["a.csv"]


def test_error_keeps_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(ValueError, match="stop"):
        fail_file(target)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_file_is_not_written_over_a_folder_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a folder"), staged_file(tmp_path):
        pass
    with pytest.raises(OutputError, match="cannot write"), staged_file(tmp_path / "file" / "a"):
        pass


def test_only_a_folder_of_our_own_is_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    require_own_folder(folder, ("*/last.pt",), "run")
    folder.mkdir()
    (folder / ".DS_Store").touch()
    require_own_folder(folder, ("*/last.pt",), "run")
    (folder / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"not empty and holds no run \(it has notes\.txt\)"):
        require_own_folder(folder, ("*/last.pt",), "run")
    (folder / "fold1").mkdir()
    (folder / "fold1" / "last.pt").touch()
    require_own_folder(folder, ("*/last.pt",), "run")


class SharingViolationError(PermissionError):
    """What Windows says of a file that another process has open."""

    winerror = 32


@pytest.mark.parametrize("refusals", [3, 10_000])
def test_a_file_that_another_process_reads_is_replaced_when_it_is_done(
    refusals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replace, left = tmp_path / "result.csv", Path.replace, [refusals]
    target.write_text("earlier")
    waits: list[float] = []
    monkeypatch.setattr(atomic_write, "_wait", waits.append)

    def windows_replace(self: Path, to: Path) -> Path:
        left[0] -= 1
        if left[0] >= 0:
            raise SharingViolationError(13, "The process cannot access the file", str(to))
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", windows_replace)
    expected = pytest.raises(OutputError) if refusals > 3 else contextlib.nullcontext()
    with expected, staged_file(target) as staging:
        staging.write_text("new")
    assert target.read_text() == ("earlier" if refusals > 3 else "new")
    assert sum(waits) == pytest.approx(2.0 if refusals > 3 else 3 * 0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["result.csv"]


def test_a_file_that_may_not_be_replaced_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def refuse(self: Path, to: Path) -> Path:
        tries.append(to)
        raise PermissionError(13, "Permission denied", str(to))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="cannot write"), staged_file(tmp_path / "x") as staging:
        staging.write_text("new")
    assert len(tries) == 1


def test_json_is_read_back_as_it_was_and_names_are_legible(tmp_path: Path) -> None:
    undecodable = "caf\udce9.wav"
    value = {"filename": undecodable, "label": "größe \U0001f415", "counts": [1, 2.5, None]}
    write_json(tmp_path / "new" / "a.json", value)
    text = (tmp_path / "new" / "a.json").read_text("utf-8")
    assert json.loads(text) == value
    assert "größe \U0001f415" in text
    assert text.endswith("}\n")


def test_value_that_is_no_json_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, 1)
    with pytest.raises(TypeError):
        write_json(target, {"path": target})
    assert json.loads(target.read_text("utf-8")) == 1
    assert names(tmp_path) == ["a.json"]


def test_text_keeps_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ä\r\n1\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\r\n1\n".encode()
