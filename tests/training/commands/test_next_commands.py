"""Every command says what it wrote and what comes next, and that does work."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from earful.data.errors import EarfulError
from tests.fixtures.forked_command import ForkedCommand
from tests.training.commands.conftest import Home, RunCommand

pytestmark = pytest.mark.slow


def next_commands(stderr: str) -> list[list[str]]:
    """The words of the commands below ``next:``, without ``earful``."""
    text = stderr.partition("next:\n")[2].replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  earful ")]


def commands_in(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("  earful ")]


def test_each_step_names_the_next_one(home: Home) -> None:
    run, model, dataset = str(home.run), str(home.model), str(home.dataset)
    steps = {name: next_commands(result.stderr) for name, result in home.results.items()}
    assert steps["prepare"] == [["train", dataset, "--out", "RUN"]]
    assert steps["train"] == [["export", run, "--out", "model.onnx"], ["report", run]]
    assert steps["export"] == [["evaluate", model, dataset], ["serve", "--model", model]]
    assert steps["evaluate"] == [
        ["serve", "--model", model],
        ["classify", "FOLDER", "--model", model],
    ]


def test_results_are_on_stdout_and_fit_80_columns_but_for_paths(home: Home) -> None:
    folder = str(home.dataset.parent)
    for name, result in home.results.items():
        assert result.stdout.strip(), name
        assert "next:" not in result.stdout
        for line in result.stdout.replace(folder, "").splitlines():
            assert len(line) <= 80, line
    epochs = [line for line in home.results["train"].stderr.splitlines() if line[:5] == "epoch"]
    assert len(epochs) == 2
    assert max(map(len, epochs)) <= 76  # room for epochs of minutes
    _, labels, parts, _ = home.results["prepare"].stdout.splitlines()
    assert labels == "labels: high, low, mid"
    assert parts.endswith("12 test (random split)")
    report = home.dataset.parent / "report"
    assert f"{report}: confusion.png, coverage.png, evaluation.json" in (
        home.results["evaluate"].stderr
    )


def test_more_epochs_are_suggested_where_the_last_is_the_best_and_the_command_works(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    dataset, run = home.dataset, tmp_path / "run"
    slow = ("--learning-rate", 1e-4, "--batch-size", 16, "--set", "dropout=0", "--model", "mlp")
    result = earful("train", dataset, "--out", run, "--epochs", 2, "--device", "cpu", *slow)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["best_epoch"] == metrics["epochs"] == 2
    assert "still improving at the last epoch; more epochs may help:" in result.stderr
    [more, *_] = commands_in(result.stderr)
    assert more == ["train", str(dataset), "--out", str(run), "--resume", "--epochs", "4"]
    longer = earful(*more)
    assert longer.exit_code == 0
    assert "best epoch" in longer.stdout
    assert "of 4, " in longer.stdout


def test_more_epochs_need_a_new_run_where_the_schedule_depends_on_their_number(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    arguments = ("--model", "cnn", "--epochs", 2, "--set", "schedule=cosine", "--device", "cpu")
    result = earful("train", home.dataset, "--out", tmp_path / "run", *arguments)
    assert "a new run with --epochs 4 may be better" in result.stderr
    assert "--resume" not in result.stderr


def test_a_fitted_baseline_is_not_told_to_train_longer(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    result = earful("train", home.dataset, "--out", tmp_path / "run", "--model", "majority")
    assert result.exit_code == 0
    assert "epochs" not in result.stderr


def test_ctrl_c_keeps_the_epochs_and_names_the_command_that_continues(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["train", home.dataset, "--out", run, "--model", "cnn", "--device", "cpu"]
    words += ["--epochs", 1000, "--patience", 1000]
    pipe = subprocess.PIPE
    with ForkedCommand(words, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   2/"):
                break
        process.send_signal(signal.SIGINT)
        messages = process.stderr.read()
        assert process.stdout.read() == ""
        assert process.wait() == 130
    assert f"interrupted: {run} keeps all finished epochs\n" in messages
    assert "Traceback" not in messages
    [resume] = next_commands(messages)
    assert resume == ["train", str(home.dataset), "--out", str(run), "--resume"]
    resumed = earful(*resume, "--epochs", 3, "--patience", 1000)
    assert resumed.exit_code == 0
    assert re.search(r"^epoch +\d+/3 ", resumed.stderr, re.MULTILINE) or "of 3" in resumed.stdout


LONG = ("--epochs", "9999", "--device", "cpu")


def print_whole_lines() -> None:
    """As to a terminal, without waiting for a full buffer."""
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)


@pytest.mark.parametrize(
    ("command", "until", "kept"),
    [
        (("demo",), "1. No recordings", "nothing was kept"),
        (("crossval", "DATASET", "--set", "patience=9999", *LONG), "epoch ", "keeps finished epoc"),
        (
            ("compare", "DATASET", "--models", "cnn:patience=9999", *LONG),
            "epoch ",
            "keeps finished",
        ),
    ],
)
def test_ctrl_c_says_what_is_kept(
    home: Home, tmp_path: Path, command: tuple[str, ...], until: str, kept: str
) -> None:
    words = [str(home.dataset) if word == "DATASET" else word for word in command]
    reader, writer = os.pipe()
    with (
        open(reader, encoding="utf-8") as output,  # noqa: PTH123 - a number
        ForkedCommand(
            [*words, "--out", "new"],
            stdout=writer,
            stderr=writer,
            cwd=tmp_path,
            before=print_whole_lines,
        ) as process,
    ):
        os.close(writer)
        assert any(until in line for line in output)
        process.send_signal(signal.SIGINT)
        messages = output.read()
        assert process.wait() == 130
    assert "Traceback" not in messages
    [interrupted] = [line for line in messages.splitlines() if line.startswith("interrupted: ")]
    assert kept in interrupted


def test_synth_keeps_files_that_were_added(home: Home, earful: RunCommand, tmp_path: Path) -> None:
    command = ("synth", "--words", "yes,no", "--out", tmp_path, "--voices", 2, "--repetitions", 1)
    assert earful(*command).exit_code == 0
    assert earful(*command).exit_code == 0
    (tmp_path / "clips" / "mine.wav").touch()
    added = earful(*command)
    assert "other files (clips/mine.wav), which would be deleted" in str(added.exception)
    unknown = earful(*command[:4], tmp_path / "new", "--languages", "fr-fri")
    assert "does not speak 'fr-fri' (did you mean 'fr-fr'?); it speaks af, " in str(
        unknown.exception
    )


def test_a_list_with_labels_is_scored_and_its_report_comes_next(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    test_csv, out = home.dataset / "test.csv", tmp_path / "results.csv"
    accuracy = json.loads((home.dataset.parent / "report" / "evaluation.json").read_text())
    expected = f"accuracy {100 * accuracy['accuracy']:.2f} %: "
    plain = earful("classify", test_csv, "--model", home.model)
    assert expected in plain.stderr
    assert plain.stderr.rstrip().endswith("of 12 labelled clips")
    written = earful("classify", test_csv, "--model", home.model, "--out", out)
    assert expected in written.stderr
    assert next_commands(written.stderr) == [["report", str(out)]]
    again = earful("classify", test_csv, "--model", home.model, "--out", out)
    assert "nothing to do" in again.stderr
    assert expected in again.stderr
    by_window = earful("classify", test_csv, "--model", home.model, "--mode", "windows")
    assert "accuracy" not in by_window.stderr


def test_no_labels_no_accuracy(home: Home, earful: RunCommand) -> None:
    clips = sorted(home.labels.parent.glob("low_*.wav"))[:2]
    assert earful("classify", *clips, "--model", home.model).stderr == ""


def test_a_dataset_and_a_run_are_never_overwritten_silently(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in home.run.iterdir()}
    again = earful("train", home.dataset, "--out", home.run, "--epochs", 1)
    assert isinstance(again.exception, EarfulError)
    assert "holds a run; " in str(again.exception)
    assert "--resume" in str(again.exception)
    assert {path: path.read_bytes() for path in home.run.iterdir()} == before
    dataset = tmp_path / "dataset"
    assert earful("prepare", home.labels, "--out", dataset).exit_code == 0
    again = earful("prepare", home.labels, "--out", dataset)
    assert "holds a dataset; replace it with --replace" in str(again.exception)
    assert earful("prepare", home.labels, "--out", dataset, "--replace").exit_code == 0


@pytest.mark.parametrize("name", ["train", "compare", "crossval", "tune"])
def test_a_folder_of_other_files_is_not_trained_into(
    home: Home, earful: RunCommand, tmp_path: Path, name: str
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = earful(name, home.dataset, "--out", tmp_path)
    assert isinstance(result.exception, EarfulError)
    assert f"{tmp_path} is not empty and holds no " in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_no_run_is_named_by_export_and_report(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    home_of, out = home.dataset.parent, tmp_path / "m.onnx"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").touch()
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").touch()
    for name, path, message in (
        ("export", home.dataset, f"^{home.dataset} is a dataset; train on it: `earful train "),
        ("export", home.model, f"^{home.model} is a model file; use it: `earful classify "),
        ("export", home.run / "best.pt", f"export the run: `earful export {home.run} --out"),
        ("export", tmp_path / "notes", "or start one: `earful train DATASET --out RUN`$"),
        (
            "export",
            tmp_path / "new run",
            "start one: `earful train DATASET --out '.*new run'`$",
        ),
        ("report", home.dataset, f"^{home.dataset} is a dataset; "),
        ("report", home.model, f"^{home.model} is a model file; "),
        ("report", home.run / "best.pt", f"give its folder: `earful report {home.run}`$"),
        ("report", home.run / "metrics.json", f"give its folder: `earful report {home.run}`$"),
        (
            "report",
            tmp_path / "notes",
            "notes holds no checkpoint of a run; give the folder",
        ),
        (
            "report",
            tmp_path / "x.csv",
            "classify`: the file has no column filename.*; write one",
        ),
        ("report", tmp_path / "evaluation", "already: open evaluation.json in it"),
    ):
        result = earful(name, path, *(("--out", out) if name == "export" else ()))
        assert isinstance(result.exception, EarfulError), (name, path)
        assert re.search(message, str(result.exception)), str(result.exception)
    assert not out.exists()
    assert sorted(path.name for path in home_of.iterdir()) == [
        "clips", "dataset", "model.onnx", "printed.json", "report", "run",
    ]  # fmt: skip


def test_an_interrupted_run_knows_its_dataset(
    home: Home, earful: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.dataset.parent)
    run = tmp_path / "my run"
    shutil.copytree(home.run, run)
    (run / "metrics.json").unlink()
    exported = earful("export", run, "--out", tmp_path / "m.onnx")
    assert commands_in(exported.stderr)[0] == ["train", "dataset", "--out", str(run), "--resume"]
    assert ["evaluate", str(tmp_path / "m.onnx"), "dataset"] in next_commands(exported.stderr)
    reported = earful("report", run, "--clips", 1, "--no-noise-test")
    assert f"Continue it with `earful train dataset --out '{run}' --resume`" in reported.stderr
    assert "No clips are shown" not in reported.stderr
    again = f"write it again: `earful train dataset --out '{run}' --resume`"
    for content in ("junk", "[1]", "{}", '{"epochs": 2, "validation": 1}'):
        (run / "metrics.json").write_text(content)
        assert str(earful("report", run).exception).endswith(again)
        assert str(earful("export", run, "--out", tmp_path / "m.onnx").exception).endswith(again)


def test_what_was_meant_is_done_or_named(home: Home, earful: RunCommand) -> None:
    report = home.dataset.parent / "report"
    for arguments, message in (
        (("evaluate", home.run, home.dataset), f"export it first: `earful export {home.run} "),
        (("serve", "--model", home.run), f"export it first: `earful export {home.run} --out"),
        (("classify", "x.wav", "--model", home.dataset), "is a dataset, not a model file; train"),
        (("report", report), f"{report} is a report of `earful evaluate` already: open confusion"),
        (("report", report / "evaluation.json"), "is a report of `earful evaluate` already"),
        (("check", home.labels.parent), f"give that: {home.labels}"),
        (("check", home.dataset), f"is a dataset; train on it: `earful train {home.dataset} --out"),
        (("labels", "import", home.run, "--out", "l"), f"{home.run} is a run; export it: `earful"),
        (("prepare", home.labels.parent, "--out", "d"), f"give that: {home.labels}"),
    ):
        result = earful(*arguments)
        assert isinstance(result.exception, EarfulError), arguments
        assert message in str(result.exception), arguments


def test_prepare_lists_at_most_ten_labels(home: Home, earful: RunCommand, tmp_path: Path) -> None:
    clips = sorted(home.labels.parent.glob("*.wav"))
    rows = [f"{clip},l{number % 13}" for number, clip in enumerate(clips)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]), encoding="utf-8")
    lines = earful("prepare", tmp_path / "labels.csv", "--out", tmp_path / "d").stdout.splitlines()
    assert lines[1] == "labels: l0, l1, l2, l3, l4, l5, l6, l7, l8, l9 and 3 more"


@pytest.mark.parametrize("name", ["synth", "labels"])
def test_helpers_lead_to_prepare(earful: RunCommand, home: Home, tmp_path: Path, name: str) -> None:
    if name == "synth":
        result = earful(
            "synth",
            "--words",
            "yes,no",
            "--out",
            tmp_path / "v",
            "--voices",
            2,
            "--repetitions",
            1,
        )
        expected = ["prepare", str(tmp_path / "v" / "labels.csv"), "--out", "DATASET"]
    else:
        result = earful("labels", "merge", home.labels, "--out", tmp_path / "all.csv")
        expected = ["check", str(tmp_path / "all.csv")]
    assert result.exit_code == 0, result.output
    assert next_commands(result.stderr) == [expected]
