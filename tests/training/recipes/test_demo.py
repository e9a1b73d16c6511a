"""The demo: every step runs, and nothing is replaced before the data has been read."""

import contextlib
import io
import shutil
from pathlib import Path

import pytest
import typer.testing

from earful.data.errors import EarfulError
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.service.classifier import Classifier
from earful.training.cli import build_app
from earful.training.recipes import demo
from earful.training.recipes.demo import run_demo

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 2)


@pytest.fixture(scope="module")
def demo_folder(tones_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a demo was run, with what it printed in ``output.txt``."""
    folder = tmp_path_factory.mktemp("demo")
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(demo, "EPOCHS", 2)
        assert run_demo(tones_csv, PLAIN_CSV, folder / "demo").is_file()
    (folder / "output.txt").write_text(output.getvalue())
    return folder


def test_demo_writes_a_model_and_prints_each_step(demo_folder: Path) -> None:
    output = (demo_folder / "output.txt").read_text()
    for command in ("prepare", "train", "export", "evaluate", "classify"):
        assert f"$ earful {command} " in output
    assert "accuracy" in output


def test_a_demo_runs_again_into_the_same_folder(
    demo_folder: Path, tones_csv: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_folder / "demo", tmp_path / "demo")
    model = run_demo(tones_csv, PLAIN_CSV, tmp_path / "demo")
    assert model.stat().st_mtime_ns > (demo_folder / "demo" / model.name).stat().st_mtime_ns


def test_unreadable_csv_leaves_the_earlier_demo(
    demo_folder: Path, tones_csv: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_folder / "demo", tmp_path / "demo")
    [model] = (tmp_path / "demo").glob("*.onnx")
    with pytest.raises(EarfulError, match=r"missing\.csv"):
        run_demo(tmp_path / "missing.csv", PLAIN_CSV, tmp_path / "demo")
    inside = tmp_path / "demo" / "dataset" / "test.csv"
    with pytest.raises(EarfulError, match="inside"):
        run_demo(inside, PLAIN_CSV, tmp_path / "demo")
    with pytest.raises(EarfulError, match="inside"):
        run_demo(tones_csv, CsvOptions(tmp_path / "demo" / "voices"), tmp_path / "demo")
    with pytest.raises(EarfulError, match="'!!!'"):
        run_demo(None, PLAIN_CSV, tmp_path / "demo", ("lights", "!!!"))
    assert model.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_file_with_several_clips_is_not_classified_as_one(
    tones_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tones_csv.read_text().splitlines()
    timed = [f"{rows[0]},start,end", *(f"{row},0.0,0.4" for row in rows[1:])]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(timed))
    run_demo(csv_path, CsvOptions(tones_csv.parent), tmp_path / "demo")
    output = capsys.readouterr().out
    assert "Classify a file" not in output
    assert "Evaluate the file" in output


def test_split_column_without_test_rows_is_reported(
    tones_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tones_csv.read_text().splitlines()
    lines = [
        f"{rows[0]},split",
        *(f"{row},{'val' if i % 5 == 0 else 'train'}" for i, row in enumerate(rows[1:])),
    ]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(lines))
    run_demo(csv_path, CsvOptions(tones_csv.parent), tmp_path / "demo")
    assert "nothing is evaluated" in capsys.readouterr().out


def test_demo_synthesizes_custom_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "VOICES", 8)
    model = run_demo(None, PLAIN_CSV, tmp_path / "demo", ("lights", "stop=halt"))
    assert Classifier.open(model).labels == ("lights", "stop")
    output = capsys.readouterr().out
    assert "8 synthetic voices speak lights, halt" in output
    assert "$ earful synth --words lights,stop=halt " in output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--words", "a,b", "--data", "x.csv"), "give one"),
        (("--words", "one"), "two words or more"),
    ],
)
def test_unusable_words_are_refused(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(EarfulError, match=words):
        typer.testing.CliRunner().invoke(build_app(), ["demo", *flags], catch_exceptions=False)
