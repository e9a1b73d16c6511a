"""What the READMEs name exists, every command and flag is in one of them, and their code runs."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer

from earful.training.cli import build_app
from tests.fixtures.forked_command import run_forked
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, tone

ROOT = Path(__file__).resolve().parents[1]
# The most lines of each page.
MAX_LINES = {
    "README.md": 200,
    "data/README.md": 350,
    "models/README.md": 350,
    "models/pretrained/digits.md": 350,
    "service/README.md": 350,
    "service/deploy/README.md": 350,
    "tests/benchmarks/README.md": 350,
    "training/README.md": 350,
}
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in MAX_LINES}
README = PAGES["README.md"]
# Needs a server: tests/service/http/test_stream_route.py runs it.
STREAM_CLIENT = "import json\n"
# Commands that do nothing but hold others.
GROUPS = {(), ("feedback",), ("labels",), ("models",)}


@dataclass(frozen=True)
class NamedCommand:
    """A command line as a page names it: the path of the command, and the words behind it."""

    page: str
    path: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        return [word for word in self.words if not word.startswith("-")]

    @property
    def flags(self) -> set[str]:
        return {word.partition("=")[0] for word in self.words if word.startswith("--")}

    def __str__(self) -> str:
        return f"{self.page}: earful {' '.join((*self.path, *self.words))}"


@cache
def command_flags() -> dict[tuple[str, ...], frozenset[str]]:
    """The long flags of every command, by its path: ``("labels", "import")``."""
    root: Any = typer.main.get_command(build_app())
    return dict(walk_commands(root, ()))


def walk_commands(
    command: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    context = typer.Context(command)
    options = [*command.params, command.get_help_option(context)]
    names = {
        name
        for option in options
        if option and not option.hidden
        for name in (*option.opts, *option.secondary_opts)
    }
    yield path, frozenset(name for name in names if name.startswith("--"))
    for name in getattr(command, "list_commands", lambda _: [])(context):
        yield from walk_commands(command.get_command(context, name), (*path, name))


FENCED_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language."""
    return [block for name, block in FENCED_BLOCK.findall(text) if name == language]


def block_below(heading: str) -> str:
    """The first fenced block below a heading of the README."""
    _, found, section = README.partition(f"\n## {heading}\n")
    assert found, heading
    return blocks(section)[0]


def code_lines(page: str) -> Iterator[str]:
    """Every line of a fenced block, and every code span of the text around them."""
    text = PAGES[page].replace("\\\n", " ")
    for block in blocks(text):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", FENCED_BLOCK.sub("", text))


def named_commands(page: str) -> Iterator[NamedCommand]:
    """Every ``earful COMMAND ...`` of a page."""
    for line in code_lines(page):
        for text in re.findall(r"(?:^|[\s(])earful ((?:-|[a-z]).*)", line):
            words = shlex.split(re.split(r"[|&;]| {2,}[a-z]+:", text)[0], comments=True)
            path: tuple[str, ...] = ()
            while words and (*path, words[0]) in command_flags():
                path = (*path, words.pop(0))
            yield NamedCommand(page, path, tuple(words))


def run_python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README assumes it: labels.csv, recordings/, clip.wav and meeting.wav."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recordings").mkdir()
    rows = ["filename,label"]
    rng = np.random.default_rng(0)
    for label in PITCHES_HZ:
        for n in range(10):
            sound = tone(label, seconds=0.5, level=rng.uniform(0.1, 0.5))
            soundfile.write(folder / "recordings" / f"{label}{n}.wav", sound, RATE_HZ)
            rows.append(f"recordings/{label}{n}.wav,{label}")
    (folder / "labels.csv").write_text("\n".join(rows))
    soundfile.write(folder / "clip.wav", tone("low"), RATE_HZ)
    soundfile.write(folder / "meeting.wav", tone("low", seconds=3.0), RATE_HZ)
    return folder


@pytest.mark.slow
def test_own_data_commands_and_onnxruntime_snippet_run_in_order(folder: Path) -> None:
    """Training is cut to three epochs; the models page's snippet then gives the same scores."""
    lines = [line for line in block_below("Your own data").splitlines() if line]
    commands = [shlex.split(line, comments=True)[3:] for line in lines]
    assert [words[0] for words in commands] == [
        "check",
        "prepare",
        "train",
        "export",
        "evaluate",
        "classify",
    ]
    for words in commands:
        short = ["--epochs", "3"] if words[0] == "train" else []
        done = run_forked([*words, *short], cwd=folder)
        assert done.returncode == 0, (words, done.stderr)
    assert (folder / "results.csv").read_text().count("\n") == 31
    [snippet] = blocks(PAGES["models/README.md"], "python")
    score = float(run_python(snippet + "\nprint(probabilities.max())", folder))
    results = run_forked(["classify", "clip.wav", "--model", "model.onnx"], cwd=folder).stdout
    assert score == pytest.approx(float(results.splitlines()[1].split(",")[4]), abs=1e-5)


def test_python_snippet_of_the_readme_runs(folder: Path) -> None:
    [snippet] = blocks(README, "python")
    assert snippet.startswith("import earful\n")
    given = "import numpy\nwaveform = numpy.sin(numpy.arange(44_100) / 20)\n"
    checked = "\nprint(sorted(model.classify(waveform, sample_rate=44_100).scores))"
    assert run_python(given + snippet + checked, folder).strip() == str(list("0123456789"))


def test_every_python_snippet_is_run_by_some_test() -> None:
    for page, text in PAGES.items():
        for snippet in blocks(text, "python"):
            tested = page in ("README.md", "models/README.md")
            assert tested or snippet.startswith(STREAM_CLIENT), (page, snippet)


def test_every_command_and_flag_is_documented() -> None:
    """A flag on a page that names its command: `--json` of one command says nothing of another."""
    missing: set[str] = set()
    for path, flags in command_flags().items():
        name = re.compile(r" +".join(map(re.escape, ("earful", *path))) + r"\b")
        text = "\n".join(page for page in PAGES.values() if name.search(page))
        documented = set(re.findall(r"(?<![\w-])--[a-z0-9-]+", text))
        missing |= {" ".join((*path, flag)) for flag in flags - documented - {"--help"}}
        if not text:
            missing.add(" ".join(path))
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_flag_that_a_page_names_exists(page: str) -> None:
    for command in named_commands(page):
        names_a_command = command.path not in GROUPS or not command.arguments
        assert names_a_command, f"no such command: {command}"
        unknown = command.flags - command_flags()[command.path]
        assert not unknown, (str(command), unknown)


def test_the_commands_of_the_pages_are_found() -> None:
    found = [command for page in PAGES for command in named_commands(page)]
    assert len(found) > 80
    assert {command.path for command in found} > {("prepare",), ("labels", "merge")}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    """Links are relative to the page, names of the project's folders to the project."""
    text = PAGES[page]
    assert "../shared" not in text
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target
    folders = r"(?:data|models|service|training|tests|\.ci|\.src)"
    for named in re.findall(rf"(?<![\w./-])({folders}/[\w./-]*\w)", text):
        assert (ROOT / named).exists(), named


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_script_that_a_page_runs_exists_with_its_flags(page: str) -> None:
    for line in code_lines(page):
        found = re.search(r"python (?:-m ([\w.]+)|([\w/]+\.py))(.*)", line)
        if found is None:
            continue
        module, script, rest = found.groups()
        spec = importlib.util.find_spec(module) if module else None
        source = Path(str(spec.origin)) if spec else ROOT / str(script)
        assert source.is_file(), line
        code = source.read_text(encoding="utf-8")
        for flag in re.findall(r"(--[a-z-]+)", rest):
            argument = flag[2:].replace("-", "_")
            named = re.search(rf"""["']{flag}["']""", code) or f"{argument}: " in code
            assert named, (line, flag)


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_short(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= MAX_LINES[page]


def test_the_readme_names_the_test_command_that_ci_runs() -> None:
    [command] = block_below("Development").splitlines()
    assert command.startswith("pip install uv && uv run --group dev pytest")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
