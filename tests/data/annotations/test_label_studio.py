"""Label Studio exports: references, conflict resolution, and reported problems."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.conflicts import ConflictRule
from earful.data.annotations.read_sources import ImportOptions, detect_format, read_sources
from tests.fixtures.synthetic_audio import tone, wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of Label Studio: uploads, local files, a link out of the folder."""
    sound = wav(tone("mid", 0.1))
    for name in ("a.wav", "day/b c+.wav", "upload/3/0123abcd-up.wav", "bucket/x/s3.wav", "old.wav"):
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound)
    (tmp_path / "secret.wav").write_bytes(sound)
    (tmp_path / "audio" / "link.wav").symlink_to(tmp_path / "secret.wav")
    return tmp_path / "audio"


def task(audio: object, *annotations: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"id": 1, "data": {"audio": audio, **fields}, "annotations": list(annotations)}


def annotation_by(
    annotator: object, label: object, at: str | int = "2026-01-01T00:00:00Z", **more: object
) -> dict[str, Any]:
    """An annotation with a choice, or with regions of (start, end, label)."""
    if isinstance(label, list):
        regions = [{"start": s, "end": e, "labels": [name]} for s, e, name in label]
        result = [{"from_name": "label", "type": "labels", "value": region} for region in regions]
    else:
        choices = {"choices": [label]}
        result = [{"from_name": "label", "type": "choices", "value": choices}]
    return {"id": 7, "completed_by": annotator, "created_at": at, "result": result, **more}


def read(
    folder: Path, content: object, rule: ConflictRule = "latest", **options: Any
) -> AnnotationSet:
    source = folder.parent / "export.json"
    source.write_text(json.dumps(content), encoding="utf-8")
    return read_sources([source], ImportOptions(audio_dir=folder, rule=rule, **options))


def labels(found: AnnotationSet) -> list[str]:
    return [annotation.label for annotation in found.annotations]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("a.wav", "a.wav"),
        ("/data/local-files/?d=day/b%20c%2B.wav", "day/b c+.wav"),
        ("http://ls:8080/data/local-files/?d=day/b c+.wav", "day/b c+.wav"),
        ("/data/upload/3/0123abcd-up.wav", "upload/3/0123abcd-up.wav"),
        ("http://host/data/upload/9/deadbeef-old.wav", "old.wav"),
        ("s3://bucket/x/s3.wav", "bucket/x/s3.wav"),
        ("https://elsewhere.org/somewhere/old.wav?token=x", "old.wav"),
        ("C:\\Users\\ann\\old.wav", "old.wav"),
        ("/home/ann/old.wav", "old.wav"),
        ("{folder}/day/b c+.wav", "day/b c+.wav"),
        ("file://{folder}/day/b%20c+.wav", "day/b c+.wav"),
    ],
)
def test_every_reference_form_resolves_inside_the_audio_folder(
    folder: Path, reference: str, name: str
) -> None:
    found = read(folder, [task(reference.replace("{folder}", str(folder)), annotation_by(1, "x"))])
    assert [a.path for a in found.annotations] == [folder / name]


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ("../secret.wav", "outside", "--audio-dir"),
        ("/data/local-files/?d=../secret.wav", "outside", "--audio-dir"),
        ("/data/local-files/?d=%2e%2e/secret.wav", "outside", "--audio-dir"),
        ("/data/local-files/?d=/etc/passwd", "outside", "--audio-dir"),
        ("/data/upload/3/..%2F..%2F..%2Fsecret.wav", "outside", "--audio-dir"),
        ("link.wav", "outside", "is a link out of"),
        ("gone.wav", "missing_file", "no 'gone.wav' in"),
        ("/data/upload/3/0123abcd-lost.wav", "missing_file", "'lost.wav'"),
        ("s3://bucket/no.wav", "remote", "is not downloaded; download it"),
        ("/etc/passwd", "missing_file", "no 'passwd'"),
        ("x" * 5000, "no_audio", "not the name of a file"),
        ("a\0.wav", "no_audio", "not the name of a file"),
        ("\ud800.wav", "no_audio", "not the name of a file"),
        ("http://[", "remote", "is not downloaded"),
        (None, "no_audio", "no audio in its data"),
        ({"a": 1}, "no_audio", "no audio in its data"),
    ],
)
def test_missing_or_foreign_recording_is_a_problem_of_its_task_only(
    folder: Path, reference: object, code: str, message: str
) -> None:
    found = read(
        folder, [task(reference, annotation_by(1, "x")), task("a.wav", annotation_by(1, "good"))]
    )
    [problem] = found.problems
    assert (problem.code, labels(found)) == (code, ["good"])
    assert message in problem.message
    assert "task 1" in problem.location


def test_uploads_with_the_same_name_stay_distinct(folder: Path) -> None:
    tasks = [
        task(f"/data/upload/1/{n}-old.wav", annotation_by(1, n)) for n in ("00000000", "11111111")
    ]
    found = read(folder, tasks)
    assert [problem.code for problem in found.problems] == ["ambiguous"] * 2
    assert found.annotations == []


ANN, BOB, CAT = (
    annotation_by({"id": 1, "email": "ann@x"}, "a", "2026-01-01T10:00:00Z"),
    annotation_by(2, "b", "2026-01-01T12:30:00+02:00"),
    annotation_by(3, "b", "2025-01-01T00:00:00Z"),
)


@pytest.mark.parametrize(
    ("annotations", "rule", "kept", "n_superseded", "reason"),
    [
        ([ANN, BOB], "latest", "b", 1, "the latest"),
        ([BOB, ANN], "latest", "b", 1, "the latest"),
        ([BOB, ANN, CAT], "first", "b", 1, "the first in order"),
        ([ANN, CAT, BOB], "majority", "b", 1, "2 of 3 annotations agree"),
        ([ANN, CAT], "majority", "a", 1, "1 of 2 annotations agree, a tie, the latest"),
        ([ANN, ANN | {"ground_truth": True}, BOB], "latest", "a", 1, "ground truth"),
        ([ANN | {"honeypot": True}, BOB], "error", "a", 1, "ground truth"),
        ([ANN, BOB | {"was_cancelled": True}], "latest", "a", 0, ""),
        ([BOB, CAT], "error", "b", 0, ""),
        (
            [annotation_by(1, "x", "nonsense"), annotation_by(2, "y", "")],
            "latest",
            "y",
            1,
            "last in order at equal times",
        ),
        (
            [annotation_by(1, [(0, 1, "x")]), annotation_by(2, [(0, 1, "x"), (2, 3, "y")])],
            "first",
            "x",
            1,
            "first",
        ),
    ],
)
def test_rule_resolves_annotator_disagreement_and_lists_dropped_labels(
    folder: Path,
    annotations: list[dict[str, Any]],
    rule: ConflictRule,
    kept: str,
    n_superseded: int,
    reason: str,
) -> None:
    found = read(folder, [task("a.wav", *annotations)], rule)
    assert labels(found) == [kept]
    assert len(found.superseded) == n_superseded
    assert all(reason in str(item) and repr(kept) in str(item) for item in found.superseded)


def test_disagreement_is_an_error_when_requested(folder: Path) -> None:
    tasks = [task("a.wav", ANN, BOB), task("old.wav", BOB, CAT), task("old.wav", ANN)]
    with pytest.raises(AnnotationError, match=r"(?s)nothing was written.*'b'"):
        read(folder, tasks[:2], "error")
    with pytest.raises(AnnotationError, match=r"(?s)task 2.*'a'.*task 1.*'b'"):
        read(folder, tasks[1:], "error")


def test_provenance_is_kept(folder: Path) -> None:
    kept = read(folder, [task("a.wav", ANN, speaker="s1", split="test")]).annotations[0]
    assert vars(kept.provenance) == {
        "source": "label-studio:export.json",
        "annotator": "ann@x",
        "annotated_at": "2026-01-01T10:00:00Z",
        "annotation_id": "7",
    }
    assert (kept.speaker, kept.split) == ("s1", "test")


def test_legacy_completions_are_read(folder: Path) -> None:
    old = {
        "id": 1,
        "data": {"url": "a.wav", "text": "hello"},
        "completions": [annotation_by(1, "x", 86400)],
    }
    [annotation] = read(folder, [old]).annotations
    assert annotation.label == "x"
    assert annotation.provenance.annotated_at == "1970-01-02T00:00:00+00:00"


def test_folder_with_one_file_per_task_and_annotation_storage_is_read(folder: Path) -> None:
    storage = folder.parent / "storage"
    storage.mkdir()
    (storage / "1.json").write_text(json.dumps(task("a.wav", ANN)), encoding="utf-8")
    nested = {**BOB, "task": {"id": 2, "data": {"audio": "old.wav"}}}
    (storage / "2.json").write_text(json.dumps(nested), encoding="utf-8")
    assert detect_format(storage) == "label-studio"
    assert labels(read_sources([storage], ImportOptions(audio_dir=folder))) == ["a", "b"]


def test_tasks_without_a_label_are_skipped_and_listed(folder: Path) -> None:
    result = [{"from_name": "note", "type": "textarea", "value": {"text": ["hm"]}}]
    tasks = [
        task("a.wav"),
        task("a.wav", ANN | {"was_cancelled": True}),
        task("a.wav", ANN | {"result": []}),
        task("a.wav", ANN | {"result": [*ANN["result"], *result]}),
        {"id": 5, "data": {"audio": "a.wav"}, "predictions": [{"result": ANN["result"]}]},
    ]
    found = read(folder, tasks)
    codes = [problem.code for problem in found.skipped]
    assert codes == ["unlabelled", "cancelled", "unlabelled", "no_label", "unlabelled"]
    assert (labels(found), found.problems) == (["a"], [])


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ([(1, 1, "x")], "bad_times"),
        ([(-1, 1, "x")], "bad_times"),
        ([(2, 1, "x")], "bad_times"),
        ([(float("nan"), 1, "x")], "bad_times"),
        ([(0, float("inf"), "x")], "bad_times"),
        ([(0, 10**400, "x")], "bad_times"),
        ([("0", True, "x")], "bad_times"),
        ([(0, None, "x")], "bad_times"),
        ("", "no_label"),
        (None, "no_label"),
        ("x" * 201, "bad_label"),
        ("two\nlines", "bad_label"),
        ("\ud800", "bad_label"),
    ],
)
def test_invalid_label_or_times_are_a_problem(folder: Path, label: object, code: str) -> None:
    assert [p.code for p in read(folder, [task("a.wav", annotation_by(1, label))]).problems] == [
        code
    ]


def test_several_choices_are_the_labels_of_one_clip(folder: Path) -> None:
    both, again = annotation_by(1, "x"), annotation_by(2, "x")
    both["result"][0]["value"]["choices"] = ["x10", "x9"]
    again["result"][0]["value"]["choices"] = ["x9", "x10"]
    found = read(folder, [task("a.wav", both, again)])
    assert (labels(found), found.superseded) == (["x9|x10"], [])


def test_choice_with_the_separator_is_a_problem(folder: Path) -> None:
    assert [p.code for p in read(folder, [task("a.wav", annotation_by(1, "x|y"))]).problems] == [
        "bad_label"
    ]


def test_one_of_several_controls_must_be_selected(folder: Path) -> None:
    two = annotation_by(1, "seven")
    two["result"].append({"from_name": "quality", "value": {"choices": ["good"]}})
    with pytest.raises(AnnotationError, match="'label', 'quality'"):
        read(folder, [task("a.wav", two)])
    with pytest.raises(AnnotationError, match="'label', 'quality'"):
        read(folder, [task("a.wav", two)], label_columns=("typo",))
    assert labels(read(folder, [task("a.wav", two)], label_columns=("quality",))) == ["good"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"[{", "is not JSON"),
        (b"\xff\xfe[", "not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "item 1 is int"),
        (b"[null]", "item 1 is NoneType"),
        (b'"text"', "item 1 is str"),
    ],
)
def test_other_file_is_refused(folder: Path, content: bytes, message: str) -> None:
    source = folder.parent / "export.json"
    source.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        read_sources([source], ImportOptions(file_format="label-studio", audio_dir=folder))


def test_damaged_exports_never_raise_unexpected_errors(folder: Path) -> None:
    """Values of every type at every position of a valid export, with a fixed seed."""
    random_ = random.Random(3)
    valid = [task("a.wav", ANN, annotation_by(4, [(0, 1, "x")])), task("old.wav", BOB)]
    invalid_values = [
        None,
        True,
        0,
        -1.5,
        10**30,
        "",
        "x",
        [],
        [[]],
        {},
        {"start": []},
        float("nan"),
        "\ud83d",
    ]

    def damaged(value: object) -> object:
        if random_.random() < 0.08:
            return random_.choice(invalid_values)
        if isinstance(value, dict):
            return {key: damaged(part) for key, part in value.items()}
        return [damaged(part) for part in value] if isinstance(value, list) else value

    n_labels, n_refused = 0, 0
    for form in ("label-studio", "label-studio-min"):
        for _ in range(400):
            try:
                n_labels += len(read(folder, damaged(valid), file_format=form).annotations)
            except AnnotationError:
                n_refused += 1
    assert n_labels > 100
    assert n_refused > 10
