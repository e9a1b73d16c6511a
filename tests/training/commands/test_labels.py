"""``earful labels``: what a person sees, exit codes, and that nothing changes where it fails."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError, UsageError
from earful.data.labels.labels_csv import read_labels
from earful.training.cli import build_app
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, wav

RunLabels = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in PITCHES_HZ:
        (tmp_path / f"{label}_ann_1.wav").write_bytes(wav(tone(label)))
    return tmp_path


@pytest.fixture
def run_labels() -> RunLabels:
    def run(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(build_app(), ["labels", *map(str, arguments)])
        assert done.exit_code == code, done.output
        return done

    return run


def task(audio: str, label: str, **more: Any) -> dict[str, Any]:
    result = [{"from_name": "l", "type": "choices", "value": {"choices": [label]}}]
    return {"data": {"audio": audio}, "annotations": [{"result": result, **more}]}


def test_from_names_to_label_studio_and_back_through_a_merge(
    run_labels: RunLabels, folder: Path
) -> None:
    pattern = ["--pattern", "{label}_{speaker}_{n}.wav"]
    imported = run_labels("import", folder, *pattern, "--out", folder / "l.csv")
    assert imported.stdout == ""
    assert f"{folder / 'l.csv'}: 3 labels" in imported.stderr
    clips = read_labels(folder / "l.csv").clips
    assert {(clip.label, clip.speaker) for clip in clips} == {(name, "ann") for name in PITCHES_HZ}
    to = ["export", folder / "l.csv", "--format", "label-studio", "--out", folder / "t.json"]
    assert '<Choice value="high"/>' in run_labels(*to).stderr
    tasks = json.loads((folder / "t.json").read_text("utf-8"))
    tasks[0]["annotations"][0] |= {"completed_by": 5, "updated_at": "2026-01-01T00:00:00Z"}
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["corrected"]
    (folder / "t.json").write_text(json.dumps(tasks), encoding="utf-8")
    run_labels("import", folder / "t.json", "--out", folder / "new.csv")
    both = [folder / "l.csv", folder / "new.csv"]
    merge_result = run_labels("merge", *both, "--out", folder / "all.csv", "--json")
    assert json.loads(merge_result.stdout)["labels"] == {"corrected": 1, "low": 1, "mid": 1}
    assert [lost["label"] for lost in json.loads(merge_result.stdout)["superseded"]] == ["high"]
    rows = (folder / "all.csv").read_text("utf-8")
    assert "corrected,ann,label-studio:t.json,5,2026-01-01T00:00:00Z," in rows


def test_regions_on_files_that_are_gone_change_nothing(run_labels: RunLabels, folder: Path) -> None:
    export, out = folder / "e.json", folder / "l.csv"
    export.write_text(json.dumps([task("gone.wav", "x"), task("low_ann_1.wav", "y")]), "utf-8")
    out.write_text("mine", encoding="utf-8")
    before = sorted(folder.iterdir())
    for more in ([], ["--replace"]):
        with pytest.raises(EarfulError, match=r"(?s)nothing was written.*--skip-bad.*gone.wav"):
            CliRunner().invoke(
                build_app(),
                ["labels", "import", str(export), "--out", str(out), *more],
                catch_exceptions=False,
            )
    assert sorted(folder.iterdir()) == before
    assert out.read_text("utf-8") == "mine"
    left = run_labels("import", export, "--out", out, "--skip-bad", "--replace", code=1)
    assert "1 unusable and skipped" in left.stderr
    assert "task 1: no 'gone.wav' in" in left.stderr
    assert [clip.label for clip in read_labels(out).clips] == ["y"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "e.json", "--out", "e.json"], "is one of the inputs"),
        (["import", "none.json", "--out", "l.csv"], "does not exist"),
        (["import", "e.json", "--out", "l.csv", "--audio-dir", "none"], "is not a folder"),
        (["import", ".", "--format", "pattern", "--out", "l.csv"], "give the pattern"),
        (["import", "e.json", "--format", "folders", "--out", "l.csv"], "is not a folder"),
        (
            ["import", "empty.json", "--format", "label-studio", "--out", "l.csv"],
            "there is no usable label",
        ),
        (["merge", "b.csv", "--out", "b.csv"], "is one of the inputs"),
        (["merge", "b.csv", "--out", "t.csv"], "already exists"),
        (["export", "b.csv", "--format", "audacity", "--out", "."], "already exists"),
    ],
)
def test_invalid_command_gives_one_error_and_no_file(
    folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "e.json").write_text(json.dumps([task("low_ann_1.wav", "y")]), encoding="utf-8")
    (folder / "empty.json").write_text("[]", encoding="utf-8")
    for name in ("b.csv", "t.csv"):
        (folder / name).write_text("filename,label\nlow_ann_1.wav,x\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(EarfulError, match=message):
        CliRunner().invoke(build_app(), ["labels", *arguments], catch_exceptions=False)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_format_specific_options_require_their_format(folder: Path) -> None:
    (folder / "b.csv").write_text("filename,label\nlow_ann_1.wav,x\n", encoding="utf-8")
    for form, flag in (("audacity", "--predictions"), ("raven", "--hard-links")):
        more = ["--format", form, "--out", folder / "o", flag]
        refused = CliRunner().invoke(
            build_app(), ["labels", "export", str(folder / "b.csv"), *map(str, more)]
        )
        assert isinstance(refused.exception, UsageError)
        assert "goes with" in str(refused.exception)
