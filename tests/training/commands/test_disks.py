"""No command ends with a traceback on a disk that is full, read-only, or vanishes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.disks import Disk, Ended, can_mount, run_on_disk
from tests.fixtures.every_command import CASES, command_names, write_disk
from tests.training.commands.conftest import Home

WRITING = [name for name, case in CASES.items() if case.writes]
FULL = (errno.ENOSPC, errno.EFBIG)


@pytest.fixture(scope="session")
def content(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's files, which each disk holds."""
    folder = tmp_path_factory.mktemp("content") / "disk"
    folder.mkdir()
    return write_disk(folder, home.labels, home.dataset, home.run, home.model)


def run(name: str, content: Path, tmp_path: Path, disk: Disk) -> Ended:
    ended = run_on_disk(
        [*name.split(), *CASES[name].words.split()], tmp_path / "disk", content, disk
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "internal error" not in ended.stderr, ended.stderr
    assert "Exception ignored" not in ended.stderr, ended.stderr
    return ended


def left_over(name: str, ended: Ended) -> list[str]:
    """Files that the command wrote and that no later command continues."""
    kept = CASES[name].keeps
    return [path for path in ended.changed if not path.startswith(kept or "\0")]


def require_sentence(ended: Ended, *reasons: str) -> None:
    """One sentence is the last line, with the reason."""
    [sentence] = [line for line in ended.stderr.splitlines() if line.startswith("earful: ")]
    assert any(reason in sentence for reason in reasons), ended.stderr
    assert "a file:" not in sentence, ended.stderr  # it names the place


def test_every_command_has_a_case() -> None:
    assert sorted(CASES) == sorted(command_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(
    name: str, content: Path, tmp_path: Path
) -> None:
    ended = run(name, content, tmp_path, Disk("full" if can_mount() else "limited"))
    assert ended.code == 2, ended.stderr
    require_sentence(ended, *map(os.strerror, FULL), "is full", "disk I/O error")
    assert left_over(name, ended) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_disk_is_a_sentence(name: str, content: Path, tmp_path: Path) -> None:
    ended = run(name, content, tmp_path, Disk("read-only"))
    assert ended.code == 2, ended.stderr
    require_sentence(ended, os.strerror(errno.EROFS), "is not a writable", "unable to open")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_vanishes_is_no_traceback(name: str, content: Path, tmp_path: Path) -> None:
    ended = run(name, content, tmp_path, Disk("vanishing"))
    assert ended.code in CASES[name].codes_if_vanishing, ended.stderr
    if ended.code == 2:
        require_sentence(
            ended,
            os.strerror(errno.ENOENT),
            " gone",
            "deleted",
            "missing",
            "unable to open",
            "readonly",
            "has no model",
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("datasets", "demo")])
def test_a_disk_that_is_gone_is_a_sentence(name: str, content: Path, tmp_path: Path) -> None:
    ended = run(name, content, tmp_path, Disk("gone"))
    assert ended.code in CASES[name].codes_if_gone, ended.stderr
    assert ended.stderr.strip()


EARFUL = [sys.executable, "-m", "earful.training.cli"]


@pytest.mark.slow
def test_stdout_on_a_full_disk_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        for words in (["datasets", "--json"], ["datasets"]):  # more than a buffer, and less
            ended = subprocess.run(
                [*EARFUL, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
            assert ended.returncode == 2
            [sentence] = [line for line in ended.stderr.splitlines() if "earful:" in line]
            assert sentence.startswith("earful: cannot write the output (stdout): No space left")
            assert "Traceback" not in ended.stderr
            assert "Exception" not in ended.stderr
        both = subprocess.run([*EARFUL, "datasets"], stdout=full, stderr=full, check=False)
        assert both.returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--version >&-", 2, "earful: cannot write the output (stdout): Bad file descriptor"),
        ("--help >&-", 2, "earful: cannot write the output (stdout): Bad file descriptor"),
        ("classify - <&-", 2, "earful: no audio file under -"),
        ("datasets 2>&-", 0, ""),
        ("classify nowhere.wav <&- >&- 2>&-", 2, ""),
    ],
)
def test_closed_streams_are_a_sentence(words: str, code: int, message: str) -> None:
    command = ["sh", "-c", f'"$0" -m earful.training.cli {words}', sys.executable]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert ended.stderr.startswith(message)


def test_a_reader_that_ends_is_no_error() -> None:
    with subprocess.Popen(
        [*EARFUL, "datasets", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
