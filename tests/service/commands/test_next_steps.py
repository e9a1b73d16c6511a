"""Messages at the end of commands: commands to copy, in lines that fit a terminal."""

import shlex
from pathlib import Path

import pytest
import typer

from earful.service.commands.next_steps import (
    format_command,
    keep_on_interrupt,
    kept_if_any,
    print_next,
    wrap,
)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "dataset", "--out", "run"),
        ("train", "my clips/da'y", "--out", "r$un", "--resume"),
        ("train", "d" * 60, "--out", "r" * 60, "--resume", "--extra", "e" * 30, "--epochs", 80),
        ("classify", "x" * 100, "--model", "m.onnx"),
    ],
)
def test_a_command_can_be_copied_to_a_shell_and_breaks_only_between_its_parts(
    words: tuple[object, ...],
) -> None:
    text = format_command(words)
    assert shlex.split(text.replace("\\\n", " ")) == ["earful", *map(str, words)]
    for line in text.splitlines():
        assert len(line) <= 80 or len(line.split()) <= 4, line


def test_short_commands_stay_on_one_line() -> None:
    assert format_command(("export", "run", "--out", "model.onnx")) == (
        "  earful export run --out model.onnx"
    )


def test_messages_are_wrapped_at_spaces_and_keep_their_words() -> None:
    text = "earful: " + "some words of a long message " * 9 + "a/" * 60 + "\nsecond line"
    lines = wrap(text).splitlines()
    assert lines[-1] == "second line"
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(len(line) <= 80 for line in lines if "a/a/" not in line)


def test_next_commands_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_next(("serve",), ("report", "run"))
    assert capsys.readouterr() == ("", "next:\n  earful serve\n  earful report run\n")


def test_an_interruption_ends_with_130_and_the_command_to_continue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ended, keep_on_interrupt("all is kept", ("tune", "d")):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted: all is kept\nnext:\n  earful tune d\n"
    with keep_on_interrupt("nothing is kept"):
        pass
    assert capsys.readouterr().err == ""


def test_an_interruption_says_what_is_kept_by_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = kept_if_any(tmp_path, "*/last.pt", "finished epochs")
    with pytest.raises(typer.Exit), keep_on_interrupt(kept):
        raise KeyboardInterrupt
    (tmp_path / "fold1").mkdir()
    (tmp_path / "fold1" / "last.pt").touch()
    with pytest.raises(typer.Exit), keep_on_interrupt(kept):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == [
        "interrupted: nothing was finished, so nothing is kept",
        f"interrupted: {tmp_path} keeps finished epochs; the same command continues",
    ]
