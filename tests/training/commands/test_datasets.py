"""``earful datasets``; folders and public datasets given to prepare, check and labels import."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earful.data.datasets.catalogue import DATASETS
from earful.data.labels.labels_csv import read_labels
from earful.training.cli import build_app
from tests.fixtures.dataset_layouts import fill, speech_commands, urbansound8k

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def run_command(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(build_app(), [*map(str, arguments)])
        assert done.exit_code == code, done.output
        return done

    return run_command


def test_all_datasets_are_listed_in_a_table(run: Run) -> None:
    lines = run("datasets").stdout.splitlines()
    assert lines[0].split() == ["dataset", "holds", "evaluation", "licence"]
    first_words = {line.split("  ")[0].strip() for line in lines}
    assert {dataset.name for dataset in DATASETS} <= first_words
    assert max(map(len, lines)) <= 100


def test_the_list_is_json_for_scripts(run: Run) -> None:
    rows = json.loads(run("datasets", "--json").stdout)
    assert [row["name"] for row in rows] == [dataset.name for dataset in DATASETS]
    assert all(all(row.values()) for row in rows)
    assert set(rows[0]) == {
        "name",
        "contents",
        "layout",
        "labels",
        "evaluation",
        "licence",
        "link",
    }


def test_check_and_prepare_take_a_folder_with_a_pattern(run: Run, tmp_path: Path) -> None:
    names = [f"{label}_{s}_{n}.wav" for label in ("on", "off") for s in "abc" for n in range(4)]
    fill(tmp_path / "clips", names)
    given = (tmp_path / "clips", "--pattern", "{label}_{speaker}_{n}.wav")
    checked = run("check", *given, "--no-wrong-labels", code=0)
    assert "24 rows, 24 usable, 2 labels, 3 speakers" in checked.stdout
    assert "--pattern '{label}_{speaker}_{n}.wav'" in checked.stderr
    prepared = run("prepare", *given, "--out", tmp_path / "dataset")
    assert "24 clips, 2 labels" in prepared.stdout
    assert "(speaker split)" in prepared.stdout


def test_check_takes_a_folder_of_label_folders(run: Run, tmp_path: Path) -> None:
    fill(tmp_path, [f"{label}/{n}.wav" for label in ("on", "off") for n in range(3)])
    assert "6 rows, 6 usable, 2 labels" in run("check", tmp_path, "--no-wrong-labels").stdout


def test_labels_import_reads_a_dataset_with_its_parts(run: Run, tmp_path: Path) -> None:
    speech_commands(tmp_path / "words")
    imported = run("labels", "import", tmp_path / "words", "--out", tmp_path / "l.csv")
    assert "note: recognised Speech Commands in " in imported.stderr
    assert "_background_noise_ are background, not a label" in imported.stderr
    labelled = read_labels(tmp_path / "l.csv")
    assert {clip.label for clip in labelled.clips} == {"yes", "no"}
    assert {clip.split for clip in labelled.clips} == {"train", "val", "test"}


def test_labels_import_keeps_the_folds_of_a_dataset(run: Run, tmp_path: Path) -> None:
    urbansound8k(tmp_path / "us")
    run("labels", "import", tmp_path / "us" / "audio", "--out", tmp_path / "l.csv")
    header, first, *_ = (tmp_path / "l.csv").read_text("utf-8").splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (row["label"], row["fold"], row["source"]) == ("dog_bark", "1", "dataset:UrbanSound8K")


def test_labels_import_leaves_files_of_systems_out(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "v", ["yes/1.wav", "no/1.wav", "yes/._1.wav", "__MACOSX/yes/._1.wav"])
    out = ("--out", tmp_path / "l.csv")
    done = run("labels", "import", tmp_path / "v", "--format", "folders", *out)
    assert "note: 2 hidden and system files are passed over" in done.stderr
    assert {clip.label for clip in read_labels(tmp_path / "l.csv").clips} == {"yes", "no"}


def test_labels_import_refuses_folders_of_folds(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "audio", [f"fold{n}/{n}.wav" for n in range(1, 4)])
    done = CliRunner().invoke(
        build_app(), ["labels", "import", str(tmp_path / "audio"), "--out", str(tmp_path / "l.csv")]
    )
    assert "are folds (fold1, fold2, fold3), not labels" in str(done.exception)
    assert not (tmp_path / "l.csv").exists()
