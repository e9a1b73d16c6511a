"""A mistyped word gets the nearest right one; and one way to set a value."""

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from earful.data.errors import EarfulError, did_you_mean, did_you_mean_path
from tests.training.commands.conftest import Home, RunCommand


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("trian",), "'train'"),
        (("train", "d", "--out", "r", "--epoch", 3), "--epochs"),
        (("train", "d", "--out", "r", "--schedule", "cosin"), "(did you mean 'cosine'?)"),
        (("labels", "improt", "x"), "'import'"),
        (("labels", "export", "x", "--out", "y", "--format", "audacty"), "mean 'audacity'?"),
        (("evaluate", "m", "d", "--split", "tset"), "(did you mean 'test'?)"),
        (("train", "d", "--out", "r", "--device", "gpu"), "(did you mean 'cuda'?)"),
        (("train", "d", "--out", "r", "--resum"), "--resume"),
    ],
)
def test_mistyped_commands_flags_and_choices(
    earful: RunCommand, arguments: tuple[object, ...], nearest: str
) -> None:
    result = earful(*arguments)
    assert result.exit_code == 2
    words = " ".join(result.stderr.replace("│", " ").split())
    assert nearest in words
    assert result.stdout == ""


def test_mistyped_networks_settings_and_paths(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    parent = home.dataset.parent
    dataset, out = home.dataset, ("--out", tmp_path / "new")
    for arguments, nearest in (
        (("train", dataset, *out, "--model", "crn"), "'crn' (did you mean 'crnn'?)"),
        (("crossval", dataset, *out, "--model", "tcresnt"), "(did you mean 'tcresnet'?)"),
        (("train", dataset, *out, "--model", "CRNN"), "'CRNN' (did you mean 'crnn'?)"),
        (("compare", dataset, *out, "--models", "cn"), "'cn' (did you mean 'cnn'?)"),
        (("train", dataset, *out, "--set", "lr=0.1"), "'lr' (did you mean 'learning_rate'?)"),
        (("train", dataset, *out, "--set", "droput=0.1"), "(did you mean 'dropout'?)"),
        (("crossval", dataset, *out, "--set", "mixpu=0.1"), "(did you mean 'mixup'?)"),
        (("tune", dataset, *out, "--set", "optimiser=sgd"), "(did you mean 'optimizer'?)"),
        (("tune", dataset, *out, "--search", "l_1=0:1"), "(did you mean 'l1'?)"),
        (("lr-find", dataset, "--set", "batch-sise=8"), "(did you mean 'batch_size'?)"),
        (("train", dataset, *out, "--set", "optimizer=adan"), "(did you mean 'adam'?)"),
        (("train", parent / "datset", *out), f"(did you mean '{dataset}'?)"),
        (("prepare", home.labels.parent / "lables.csv", *out), f"(did you mean '{home.labels}'?)"),
        (("export", parent / "rnu", *out), f"(did you mean '{home.run}'?)"),
        (("report", parent / "rnu"), f"(did you mean '{home.run}'?)"),
        (("evaluate", parent / "modle.onnx", dataset), f"(did you mean '{home.model}'?)"),
        (("models", "register", "x", parent / "rum"), f"(did you mean '{home.run}'?)"),
        (("classify", "x", "--model", parent / "modl.onnx"), f"(did you mean '{home.model}'?)"),
    ):
        result = earful(*arguments)
        assert isinstance(result.exception, EarfulError), arguments
        assert nearest in str(result.exception), (arguments, str(result.exception))
    assert not (tmp_path / "new").exists()


def test_a_mistyped_model_of_the_registry(home: Home, earful: RunCommand, tmp_path: Path) -> None:
    registry = ("--registry", tmp_path / "registry")
    first = earful("models", "register", "tones", home.model, *registry)
    assert "earful serve --model tones" in first.stderr
    assert earful("models", "show", "tones", *registry).exit_code == 0
    for command in (("models", "show", "tonse"), ("classify", "x.wav", "--model", "tonse")):
        wrong = earful(*command, *registry)
        assert "has no model 'tonse' (did you mean 'tones'?)" in str(wrong.exception)


def test_a_version_is_a_word_of_its_own_and_its_alias_may_be_mistyped(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    registry = ("--registry", tmp_path / "registry")
    assert earful("models", "register", "foo", home.model, *registry).exit_code == 0
    joined = earful("models", "promote", "foo@9", *registry)
    assert str(joined.exception).endswith("a word of its own: `earful models promote foo 9`")
    served = earful("classify", "x.wav", "--model", "foo@champio", *registry)
    assert "is not a version of foo (did you mean 'champion'?)" in str(served.exception)
    missing = earful("models", "register", "foo", tmp_path / "nope", *registry)
    assert "give the folder of `earful train --out`" in str(missing.exception)


@pytest.mark.parametrize("name", ["tune", "report", "map"])
def test_paragraphs_of_the_help_are_wrapped_once(earful: RunCommand, name: str) -> None:
    description = earful(name, "--help").stdout.partition("╭")[0]
    lines = [line.strip() for line in re.split(r"\n\s*\n", description.rstrip())[-1].splitlines()]
    assert len(lines) > 1
    for line, following in pairwise(lines):  # a line ends where the next word would not fit
        assert len(line) + 1 + len(following.split()[0]) > 76, line


def test_a_group_without_a_command_shows_its_help(earful: RunCommand) -> None:
    for group in ("feedback", "labels", "models"):
        assert "Commands" in earful(group).output, group


def test_a_mistyped_input_of_classify(home: Home, earful: RunCommand) -> None:
    folder = home.labels.parent
    result = earful("classify", folder.with_name(folder.name[:-1] + "x") / "low_1.wav")
    assert result.exit_code == 1
    result = earful("classify", folder / "lwo_1.wav", "--model", home.model)
    assert result.exit_code == 1
    assert f"there is no {folder}/lwo_1.wav (did you mean '{folder}/low_1.wav'?)" in result.stderr


def test_only_near_words_and_files_are_suggested(tmp_path: Path) -> None:
    assert did_you_mean("zebra", ["cnn", "crnn"]) == ""
    (tmp_path / "labels.csv").touch()
    assert did_you_mean_path(tmp_path / "labels.csv") == ""
    assert did_you_mean_path(tmp_path / "zebra") == ""
    assert did_you_mean_path(tmp_path / "none" / "labels.csv") == ""
    assert did_you_mean_path(Path("x" * 5000)) == ""
    assert did_you_mean_path(Path("a\0b")) == ""


def test_set_takes_settings_and_options_of_the_network(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    values = ("--set", "learning-rate=0.002", "--set", "dropout=0.1", "--set", "epochs=2")
    train = ("train", home.dataset, "--model", "cnn", "--out")
    refused = earful(*train, tmp_path / "run", *values)
    assert "epochs is not for --set; use the flag --epochs" in str(refused.exception)
    done = earful(*train, tmp_path / "run", "--epochs", 1, *values[:4])
    assert done.exit_code == 0, done.exception
    config = json.loads((tmp_path / "run" / "metrics.json").read_text())["config"]
    assert (config["learning_rate"], config["options"]) == (0.002, {"dropout": 0.1})
    twice = earful(*train, tmp_path / "r", "--learning-rate", 1, *values[:2])
    assert "learning_rate is given twice: by its flag and by --set" in str(twice.exception)


def test_help_shows_no_type_for_flags_and_groups_the_commands(earful: RunCommand) -> None:
    overview = earful("--help").stdout
    panels = ["First look", "Your own data", "Measure and improve", "Serve", "Learn from use"]
    positions = [overview.index(f"─ {panel} ─") for panel in panels]
    assert positions == sorted(positions)
    for command in ((), ("train",), ("labels", "import"), ("feedback",), ("models", "list")):
        text = earful(*command, "--help").stdout
        assert "--help" in text
        assert "<bool>" not in text, command


def test_old_files_are_refused_with_the_command_that_makes_them_again(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run, dataset = tmp_path / "run", tmp_path / "dataset"
    shutil.copytree(home.run, run)
    values = torch.load(run / "best.pt", weights_only=True)
    torch.save({**values, "schema_version": 4}, run / "best.pt")
    old_run = earful("export", run, "--out", tmp_path / "m.onnx")
    assert "`earful train DATASET --out RUN`" in str(old_run.exception)
    shutil.copytree(home.dataset, dataset)
    manifest = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({**manifest, "schema_version": 0}))
    old_dataset = earful("train", dataset, "--out", tmp_path / "new")
    assert f"earful prepare LABELS.csv --out {dataset} --replace" in str(old_dataset.exception)
    model = tmp_path / "old.onnx"
    model.write_bytes(home.model.read_bytes().replace(b"earful.", b"earshot"))
    old_model = earful("classify", home.labels, "--model", model)
    assert "earful export RUN --out model.onnx" in str(old_model.exception)
