"""Folders within each other, deeper than Python's calls may be, and than a path can name."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.folder_files import list_files
from earful.data.audio.system_files import walk_folders
from earful.service.batch.inputs import find_inputs
from tests.fixtures.synthetic_audio import tone, wav
from tests.training.commands.conftest import Home, RunCommand

LEVELS = 1_500
MakeDeep = Callable[[str, int], Path]


@pytest.fixture
def make_deep(tmp_path: Path) -> Iterator[MakeDeep]:
    """``make_deep(name, levels)`` is a folder with a recording in it and one at the bottom."""
    before = Path.cwd()

    def make(name: str, levels: int) -> Path:
        root = tmp_path / "deep"
        root.mkdir()
        (root / "a.wav").write_bytes(wav(tone("low")))
        os.chdir(root)
        for _ in range(levels):  # step by step: the path may be longer than the system takes
            Path(name).mkdir()
            os.chdir(name)
        Path("a.wav").write_bytes(wav(tone("high")))
        os.chdir(before)
        return root

    yield make
    os.chdir(before)
    # shutil.rmtree would need as many calls within each other as there are folders.
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


@pytest.mark.slow
def test_a_deep_folder_is_listed(make_deep: MakeDeep) -> None:
    root = make_deep("d", LEVELS)
    inputs = list(find_inputs([str(root)]))
    assert [source.problem for source in inputs] == ["", ""]
    assert inputs[1].location.count("/d") == LEVELS + 1  # that of /deep
    files = list_files(root)
    assert [len(path.relative_to(root).parts) for path in files.recordings] == [1, LEVELS + 1]
    assert files.empty == ()
    assert sum(len(names) for _, _, names in walk_folders(root)) == 2


def test_a_path_longer_than_the_system_takes_is_a_row_or_a_sentence(
    make_deep: MakeDeep, home: Home, earful: RunCommand
) -> None:
    root = make_deep("d" * 200, 30)
    result = earful("classify", root, "--model", home.model, "--workers", 1)
    assert result.exit_code == 1
    assert "1 of 2 files classified, 1 failed (1 unreadable)" in result.stderr
    assert "cannot list the folder: File name too long" in result.stdout
    with pytest.raises(AnnotationError, match="at most 4,096 characters"):
        list_files(root)
    for words in (("prepare", root), ("labels", "import", root), ("check", root)):
        out = () if words[0] == "check" else ("--out", root.parent / "out")
        error = earful(*words, *out).exception
        assert "at most 4,096 characters" in str(error), words
        assert len(str(error)) < 300
