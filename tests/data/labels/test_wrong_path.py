"""A path that is none of labels is named, with the command that takes it."""

import shlex
from pathlib import Path

import pytest

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.folders import read_folders
from earful.data.annotations.read_sources import ImportOptions, detect_format, read_sources
from earful.data.labels.labels_csv import read_labels, stream_rows
from earful.data.labels.text_file import LabelsError
from earful.data.labels.wrong_path import describe_wrong_path
from tests.fixtures.synthetic_audio import tone, wav


def fill(folder: Path, *names: str) -> Path:
    """Write recordings, and empty files of other suffixes, below a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(tone("mid", 0.2)) if path.suffix == ".wav" else b"")
    folder.mkdir(exist_ok=True)
    return folder


KINDS = {
    "dataset": (("dataset.json", "labels.csv"), "is a dataset; train on it: `earful train "),
    "run": (("best.pt", "metrics.json"), "is a run; export it: `earful export "),
    "own csv": (("labels.csv", "a.wav"), "is a folder with a labels CSV; give that: "),
    "by label": (
        ("a/1.wav", "b/2.wav"),
        "holds recordings in folders; prepare it: `",
    ),
    "deep": (
        ("train/a/1.wav", "test/a/2.wav"),
        "holds recordings in folders; prepare it: `",
    ),
    "flat": (("1.wav", "2.wav"), "holds recordings without labels; write a CSV with the columns"),
    "tracks": (("1.wav", "1.txt"), "may hold labels of another tool; read them: `earful labels im"),
    "hidden": (("._1.wav", "__MACOSX/a/1.wav"), "is an empty folder; label recordings in a CSV"),
    "empty": ((), "is an empty folder; label recordings in a CSV with the columns filename and"),
    "others": (("a.md",), "holds no recording; label recordings in a CSV with the columns"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_named_with_the_command_that_takes_it(tmp_path: Path, kind: str) -> None:
    names, message = KINDS[kind]
    folder = fill(tmp_path / "my clips", *names)
    with pytest.raises(LabelsError) as refused:
        read_labels(folder)
    assert str(refused.value).startswith(f"{folder} {message}")
    for part in str(refused.value).split("`")[1::2]:
        if str(folder) in part:
            assert str(folder) in shlex.split(part)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.wav", "is a recording; classify it: `earful classify "),
        ("model.onnx", "is a model file; use it: `earful classify FOLDER --model "),
        ("run/best.pt", "is a checkpoint of a run; export the run: `earful export "),
        ("export.json", "is no CSV; if it holds labels of another tool, read them: `earful lab"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, message: str) -> None:
    fill(tmp_path, name)
    with pytest.raises(LabelsError) as refused:
        read_labels(tmp_path / name)
    assert str(refused.value).startswith(f"{tmp_path / name} {message}")


def test_the_manifest_of_a_dataset_stands_for_it(tmp_path: Path) -> None:
    fill(tmp_path, "dataset.json")
    assert describe_wrong_path(tmp_path / "dataset.json").startswith(f"{tmp_path} is a dataset;")
    assert describe_wrong_path(tmp_path / "labels.csv") == ""


@pytest.mark.parametrize("kind", ["flat", "empty", "others", "own csv", "dataset", "run"])
def test_an_import_does_not_advise_itself(tmp_path: Path, kind: str) -> None:
    folder = fill(tmp_path / "clips", *KINDS[kind][0])
    with pytest.raises(AnnotationError) as refused:
        detect_format(folder)
    assert str(refused.value).startswith(f"{folder} ")
    assert f"`earful labels import {folder} --out" not in str(refused.value)


def test_labels_in_folders_of_folders_are_refused_with_a_pattern_that_reads_them(
    tmp_path: Path,
) -> None:
    folder = fill(tmp_path / "deep", "fold1/a/1.wav", "fold1/b/2.wav", "fold2/a/3.wav")
    with pytest.raises(AnnotationError, match=r"in folders of folders \(the first: .*fold1/a\)"):
        read_folders(folder)
    with pytest.raises(AnnotationError) as refused:
        read_sources([folder], ImportOptions())
    words = shlex.split(str(refused.value).split("`")[1])
    pattern = words[words.index("--pattern") + 1]
    found = read_sources([folder], ImportOptions(pattern=pattern))
    assert [(a.label, a.fold) for a in found.annotations] == [
        ("a", "fold1"),
        ("b", "fold1"),
        ("a", "fold2"),
    ]


def test_a_csv_without_rows_lists_nothing(tmp_path: Path) -> None:
    for text, message in (("filename\n", "has a header and no rows"), ("", "is empty; its first")):
        (tmp_path / "list.csv").write_text(text, encoding="utf-8")
        with pytest.raises(LabelsError, match=message):
            list(stream_rows(tmp_path / "list.csv"))


def test_a_column_that_is_nearly_named_right_is_not_ignored_silently(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("filename,label,Speakers,length\na.wav,a,ann,1\n", encoding="utf-8")
    (tmp_path / "a.wav").touch()
    assert read_labels(path).notes == (
        "the column 'Speakers' is not read (did you mean 'speaker'?)",
    )
    path.write_text("filename,lable\na.wav,a\n", encoding="utf-8")
    with pytest.raises(LabelsError, match=r"the column .lable. is not read"):
        read_labels(path)
