"""The Python API of training: from labels to an evaluated model, and what it refuses."""

import importlib
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import earful
from earful.data.errors import EarfulError, UsageError
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.cli import COMMANDS, build_app
from earful.training.commands.train_options import NetworkFlags
from earful.training.config.setting import settings_of
from earful.training.config.train_config import TrainConfig
from tests.fixtures.web_runtime import web_runtime_package
from tests.service.commands.test_command_line import TRAINING_ONLY
from tests.training.conftest import PITCHES_HZ, RATE_HZ

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def home(tones_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of tones."""
    folder = tmp_path_factory.mktemp("api")
    prepared = earful.prepare(tones_csv, folder / "dataset", split="random", sample_rate=RATE_HZ)
    assert isinstance(prepared, earful.PrepareResult)
    assert (prepared.clips, prepared.labels) == (60, ("high", "low", "mid"))
    return folder


@pytest.mark.slow
def test_labels_become_an_evaluated_model(home: Path) -> None:
    run = earful.train(str(home / "dataset"), home / "run", model="cnn", dropout=0.1, **QUICK)
    assert isinstance(run, earful.TrainResult)
    assert (run.run, run.epochs) == (home / "run", 2)
    assert run.config.batch_size == 16
    assert run.config.options == {"dropout": 0.1}
    assert run.accuracy == run.metrics["test"]["accuracy"]
    assert run.still_improving == (run.best_epoch == 2)
    exported = earful.export(home / "run", home / "model.onnx")
    assert isinstance(exported, earful.ExportResult)
    assert exported.finished
    result = earful.evaluate(home / "model.onnx", home / "dataset", out=home / "report")
    assert isinstance(result, earful.Evaluation)
    # The dataset's test clips, through the exported file.
    assert result.metrics.clips == run.metrics["test"]["clips"] == 12
    assert result.metrics.accuracy == pytest.approx(run.accuracy, abs=0.1)
    assert (home / "report" / "evaluation.json").is_file()
    with pytest.raises(EarfulError, match="run holds a run"):
        earful.train(home / "dataset", home / "run", **QUICK)
    longer = earful.train(home / "dataset", home / "run", resume=True, epochs=3)
    assert (longer.epochs, longer.config.batch_size) == (3, 16)


@pytest.mark.slow
def test_a_run_becomes_a_site_by_the_function_and_by_the_command(
    home: Path, tmp_path: Path
) -> None:
    package = web_runtime_package()
    earful.train(home / "dataset", tmp_path / "three tones", model="cnn", **QUICK)
    site = earful.export(tmp_path / "three tones", tmp_path / "site", "web", package)
    assert isinstance(site, earful.SiteResult)
    assert (site.path, site.n_labels) == (tmp_path / "site", 3)
    words = ["export", tmp_path / "three tones", "--out", tmp_path / "again", "--target", "web"]
    done = CliRunner().invoke(build_app(), [*map(str, words), "--web-runtime", str(package)])
    assert done.exit_code == 0, done.output
    for folder in ("site", "again"):
        described = json.loads((tmp_path / folder / "model.json").read_text("utf-8"))
        assert described["name"] == "three tones"
        assert described["labels"] == ["high", "low", "mid"]


def test_a_dataset_is_only_replaced_on_request(home: Path, tones_csv: Path) -> None:
    before = (home / "dataset" / "dataset.json").read_bytes()
    with pytest.raises(EarfulError, match=r"holds a dataset; replace it with --replace"):
        earful.prepare(tones_csv, home / "dataset", n_mels=20)
    assert (home / "dataset" / "dataset.json").read_bytes() == before
    copy = home / "copy"
    shutil.copytree(home / "dataset", copy)
    replaced = earful.prepare(tones_csv, copy, n_mels=20, n_mfcc=12, replace=True)
    assert replaced.features.n_mels == 20
    assert (copy / "dataset.json").read_bytes() != before


@pytest.mark.slow
def test_validation_clips_stand_in_where_no_test_clips_were_held_back(
    home: Path, tones_csv: Path, tmp_path: Path
) -> None:
    rows = tones_csv.read_text().splitlines()
    splits = ["split", *("val" if i % 5 == 0 else "train" for i in range(len(rows) - 1))]
    lines = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    earful.prepare(
        tmp_path / "labels.csv", tmp_path / "dataset", audio_dir=tones_csv.parent, split="column"
    )
    earful.train(tmp_path / "dataset", tmp_path / "run", model="majority")
    earful.export(tmp_path / "run", tmp_path / "model.onnx")
    with pytest.raises(EarfulError, match="holds back no test clips"):
        earful.evaluate(tmp_path / "model.onnx", tmp_path / "dataset")
    result = earful.evaluate(tmp_path / "model.onnx", tmp_path / "dataset", split="val")
    assert result.metrics.clips == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 0.1}, r"'learning_rat' \(did you mean 'learning_rate'\?\)"),
        ({"batch_size": "16"}, "batch_size is a whole number, found '16'"),
        ({"augment": 1}, "augment is true or false, found 1"),
        ({"learning_rate": True}, "learning_rate is a number, found True"),
        ({"optimizer": "adan"}, r"'adan' \(did you mean 'adam'\?\)"),
        ({"model": "cnn", "width": 2}, "cnn has no option width"),
        ({"dropout": 0.1}, "dropout is a setting of one network, and --model auto"),
        ({"encoder": "speech", "model": "cnn"}, "are for --model encoder, found --model cnn"),
        ({"encoder": "mine.onnx"}, "no encoder file"),
        ({"encoder": "mine.onnx", "unfreeze": True}, "only the speech encoder can be trained"),
        ({"model": "crn"}, r"no network 'crn' \(did you mean 'crnn'\?\)"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    home: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(EarfulError, match=message):
        earful.train(home / "dataset", tmp_path / "run", **settings)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "speakr"}, r"split is .*, found 'speakr' \(did you mean 'speaker'\?\)"),
        ({"engine": "rai"}, r"engine is 'local' or 'ray', found 'rai' \(did you mean 'ray'\?\)"),
        ({"clip_seconds": "1"}, "clip_seconds is a number, found '1'"),
        ({"sample_rate": 100}, "sample_rate is a whole number from 4000 to 192000, found 100"),
        ({"sample_rate": 8000.5}, "sample_rate is a whole number from 4000 to 192000"),
        ({"n_fft": "256"}, "n_fft is a whole number, found '256'"),
        ({"f_max": [1]}, r"f_max is a number, found \[1\]"),
        ({"labels": None}, "labels is a path, found None"),
        ({"out": 5}, "out is a path, found 5"),
        ({"audio_dir": 5}, "audio_dir is a path, found 5"),
    ],
)
def test_prepare_refuses_wrong_arguments_in_one_sentence(
    tones_csv: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        earful.prepare(**{"labels": tones_csv, "out": tmp_path / "d", **arguments})
    assert not any(tmp_path.iterdir())


def test_numbers_of_numpy_are_accepted(tones_csv: Path, tmp_path: Path) -> None:
    numbers: Any = {"sample_rate": np.int32(8_000), "n_mels": np.int64(20), "f_min": np.float32(50)}
    features = earful.prepare(tones_csv, tmp_path / "d", **numbers).features
    assert (features.sample_rate_hz, features.n_mels, features.f_min_hz) == (8_000, 20, 50)


def test_other_functions_refuse_wrong_arguments_in_one_sentence(home: Path, tmp_path: Path) -> None:
    dataset, run = home / "dataset", tmp_path / "run"
    calls: list[tuple[Any, dict[str, Any], str]] = [
        (earful.train, {"dataset": dataset, "out": run, "device": "gpu"}, r".*mean 'cuda'\?"),
        (earful.train, {"dataset": None, "out": run}, "dataset is a path"),
        (earful.train, {"dataset": dataset, "out": run, "extra": 5}, "extra is a path"),
        (earful.export, {"run": 5, "out": "m.onnx"}, "run is a path"),
        (earful.export, {"run": run, "out": None}, "out is a path"),
        (
            earful.export,
            {"run": run, "out": "m.onnx", "target": "wasm"},
            "target is 'onnx' or 'web' or 'tflite'",
        ),
        (
            earful.export,
            {"run": run, "out": "m", "web_runtime": "x"},
            "web_runtime is for target web",
        ),
        (
            earful.evaluate,
            {"model": SHIPPED_MODEL, "labels": dataset, "split": "tst"},
            r"split is .* or 'all', found 'tst' \(did you mean 'test'\?\)",
        ),
        (earful.evaluate, {"model": None, "labels": dataset}, "model is a path"),
        (earful.evaluate, {"model": SHIPPED_MODEL, "labels": 5}, "labels is a path"),
        (earful.evaluate, {"model": SHIPPED_MODEL, "labels": dataset, "out": 5}, "out is a path"),
    ]
    for function, arguments, message in calls:
        with pytest.raises(UsageError, match=f"^{message}"):
            function(**arguments)
    assert not any(tmp_path.iterdir())


def by_label(tones_csv: Path, folder: Path) -> Path:
    """The tones in a folder for each label."""
    for label in PITCHES_HZ:
        (folder / label).mkdir(parents=True)
        for path in tones_csv.parent.glob(f"{label}_*.wav"):
            shutil.copy(path, folder / label / path.name)
    return folder


def test_a_folder_for_each_label_is_prepared(tones_csv: Path, tmp_path: Path) -> None:
    clips = by_label(tones_csv, tmp_path / "clips")
    prepared = earful.prepare(clips, tmp_path / "dataset")
    assert (prepared.clips, prepared.labels) == (60, ("high", "low", "mid"))
    (clips / "low" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(EarfulError, match=r"\n  low/broken\.wav: "):
        earful.prepare(clips, tmp_path / "dataset", replace=True)
    left_out = earful.prepare(clips, tmp_path / "dataset", replace=True, skip_bad=True)
    assert [problem.filename for problem in left_out.skipped] == ["low/broken.wav"]


def test_other_folders_are_refused_with_the_right_command(
    home: Path, tones_csv: Path, tmp_path: Path
) -> None:
    clips = by_label(tones_csv, tmp_path / "clips")
    shutil.copy(clips / "low" / "low_1.wav", clips / "loose.wav")
    tracks = tmp_path / "tracks"
    tracks.mkdir()
    (tracks / "a.txt").write_text("0.0\t0.4\tlow\n")
    (tmp_path / "empty").mkdir()
    deep = by_label(tones_csv, tmp_path / "deep" / "fold1").parent
    by_label(tones_csv, deep / "fold2")
    for folder, message in (
        (tones_csv.parent, rf"give that: {tones_csv}"),
        (home / "dataset", "is a dataset; train on it: `earful train"),
        (deep, rf"the recordings of {deep} lie in folders of folders"),
        (clips, rf"1 recordings lie in .* \(the first: {clips}/loose\.wav\)"),
        (tracks, rf"another tool \(audacity\); `earful labels import {tracks} --out"),
        (tmp_path / "empty", "is an empty folder; label recordings in a CSV"),
    ):
        with pytest.raises(EarfulError, match=message):
            earful.prepare(folder, tmp_path / "dataset")
    with pytest.raises(EarfulError, match="--audio-dir is for a labels CSV"):
        earful.prepare(by_label(tones_csv, tmp_path / "more"), tmp_path / "d", audio_dir=clips)
    assert not (tmp_path / "dataset").exists()


def test_a_dataset_of_an_older_schema_is_not_evaluated(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "dataset", tmp_path / "dataset")
    manifest = tmp_path / "dataset" / "dataset.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 3', '"schema_version": 1'))
    with pytest.raises(EarfulError, match="has dataset schema 1, this version reads 3"):
        earful.evaluate(SHIPPED_MODEL, tmp_path / "dataset")


def test_public_names_are_listed_documented_and_loaded_when_used() -> None:
    assert set(earful.__all__) <= set(dir(earful))
    for name in earful.__all__:
        public = getattr(earful, name)
        assert inspect.getdoc(public), name
        assert public.__module__ == earful._MODULES[name], name
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        earful.trian  # noqa: B018


@pytest.mark.parametrize("name", ["prepare", "train", "export", "evaluate"])
def test_functions_have_the_arguments_of_their_commands(name: str) -> None:
    module_name, attribute = COMMANDS[name]
    module = importlib.import_module(module_name)
    command = inspect.signature(getattr(module, attribute)).parameters
    function = inspect.signature(getattr(earful, name)).parameters
    only_printing = {"as_json", "by", "setting"}
    missing = set(command) - set(function) - only_printing
    if name == "train":  # settings are keywords
        assert {"optimizer", "learning_rate", "dropout"} < missing
        missing -= {*settings_of(TrainConfig), *settings_of(NetworkFlags)}
    if name == "evaluate":  # recordings with events have a function of their own
        assert {"collar_seconds"} < set(inspect.signature(earful.evaluate_events).parameters)
        missing -= {"events", "collar"}
    assert missing == set()
    for parameter in set(command) & set(function):
        default = command[parameter].default
        assert function[parameter].default == default, parameter


def test_a_serving_only_install_names_the_install_command(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({TRAINING_ONLY!r}))\n"
        "import earful\n"
        "print(earful.load().labels[:2])\n"
        "for name in ('prepare', 'train', 'export', 'evaluate'):\n"
        "    try:\n"
        "        getattr(earful, name)\n"
        "    except earful.EarfulError as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    labels, *messages = done.stdout.splitlines()
    assert labels == "('0', '1')"
    assert len(messages) == 4
    for message in messages:
        assert message.startswith("MissingPackageError this needs ")
        assert message.endswith("; install it with: uv sync --inexact --extra train")
