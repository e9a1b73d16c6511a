"""Multi-label clips, from the CSV to splits, folds and datasets."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from earful.data.dataset.dataset import DatasetError, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.dataset.validate import check_labels
from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.folds import speaker_folds
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.multilabel import distinct_labels, normalise_label, split_labels
from earful.data.labels.splits import SplitError, SplitMode, assign_splits
from earful.data.labels.stratify import draw_stratified, rarest_labels
from earful.data.synthesis.speak_words import write_synthetic_clips
from tests.fixtures.synthetic_audio import noise, wav


def read(tmp_path: Path, *cells: str) -> tuple[list[str], tuple[ClipProblem, ...]]:
    rows = [f'{n}.wav,"{cell}"' for n, cell in enumerate(cells)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]), "utf-8")
    labelled = read_labels(tmp_path / "labels.csv")
    return [clip.label for clip in labelled.clips], labelled.problems


def test_cell_may_hold_several_labels_in_any_order(tmp_path: Path) -> None:
    labels, problems = read(tmp_path, "rain|dog", " b10 | b9 |a", "dog", "dog|rain")
    assert (labels, problems) == (["dog|rain", "a|b9|b10", "dog", "dog|rain"], ())
    assert distinct_labels(labels) == ["a", "b9", "b10", "dog", "rain"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("dog|", "is empty"),
        ("|", "is empty"),
        ("dog||rain", "is empty"),
        ("dog| |rain", "is empty"),
        ("rain|dog|rain", "'rain' is listed twice"),
        ("dog |dog", "'dog' is listed twice"),
        ("dog|" + "x" * 201, "at most 200 characters"),
        ("|".join(f"label {n}" for n in range(300)), "all of a clip at most 2000"),
        ("dog|\x07", "printable"),
    ],
)
def test_invalid_label_set_is_a_bad_row(tmp_path: Path, cell: str, reason: str) -> None:
    labels, [problem] = read(tmp_path, "good", cell)
    assert labels == ["good"]
    assert (problem.line, problem.filename) == (3, "1.wav")
    assert problem.message.startswith(f"column label, value {cell.strip()[:40]!r}: ")
    assert reason in problem.message


def test_label_without_a_separator_is_unchanged() -> None:
    for label in ("dog", "7", "zehn é 十", "a b", "a/b"):
        assert (normalise_label(label), split_labels(label)) == (label, [label])


LABELS = ["a", "b", "c", "a|b", "b|c", "a|b|c"]


def clips_of(labels: list[str], speakers: int = 5) -> list[Clip]:
    return [
        Clip(n, f"{n}.wav", Path(f"{n}.wav"), label, f"s{n % speakers}")
        for n, label in enumerate(labels)
    ]


@pytest.mark.parametrize("mode", ["random", "speaker"])
def test_every_label_keeps_its_share_of_each_part(mode: SplitMode) -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(LABELS, 600, p=[0.4, 0.2, 0.05, 0.2, 0.1, 0.05]).tolist()
    splits = assign_splits(clips_of(labels, 30), mode)
    whole = Counter(part for label in labels for part in split_labels(label))
    for split, share in (("train", 0.72), ("val", 0.08), ("test", 0.2)):
        in_split = [label for label, s in zip(labels, splits, strict=True) if s == split]
        counts = Counter(part for label in in_split for part in split_labels(label))
        assert len(in_split) == pytest.approx(share * 600, rel=0.2)
        for label, n in whole.items():
            assert counts[label] == pytest.approx(share * n, rel=0.35, abs=2), (split, label)
    assert splits == assign_splits(clips_of(labels, 30), mode)


def test_rare_labels_stay_in_training() -> None:
    labels = ["a"] * 40 + ["b"] * 40 + ["a|rare", "b|rare", "a|odd", "odd"]
    drawn = draw_stratified(labels, 17, seed=42)
    assert 15 <= len(drawn) <= 19
    assert not {"rare", "odd"} & set(distinct_labels(labels[i] for i in drawn))
    assert rarest_labels(["a|rare", "a", "a", "odd|a", "odd"]) == ["rare", "a", "a", "odd", "odd"]


def test_label_with_a_single_clip_or_a_single_label_is_refused() -> None:
    with pytest.raises(SplitError, match=r"'c' \(line 4, 4.wav\)"):
        assign_splits(clips_of(["a", "b", "a", "b", "a|c"]), "random")
    with pytest.raises(SplitError, match="all clips have the label 'a'"):
        assign_splits(clips_of(["a"] * 4), "random")


@pytest.mark.parametrize("n_folds", [None, 3])
def test_folds_test_every_clip_once_and_train_on_every_label(n_folds: int | None) -> None:
    labels = np.random.default_rng(2).choice(LABELS, 120).tolist()
    speakers = [f"s{n % 6}" for n in range(120)]
    folds = speaker_folds(labels, speakers, n_folds)
    assert [sum(f.splits[i] == "test" for f in folds) for i in range(120)] == [1] * 120
    for fold in folds:
        by_split: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
        for label, split in zip(labels, fold.splits, strict=True):
            by_split[split].update(split_labels(label))
        assert by_split["train"] == by_split["val"] == {"a", "b", "c"}


def test_dataset_has_a_label_matrix(tmp_path: Path) -> None:
    texts = ["b9|b10", "b10", "a", "a|b9"] * 6
    for n in range(len(texts)):
        (tmp_path / f"{n}.wav").write_bytes(wav(noise(0.3, 0.1, n)))
    rows = [f"{n}.wav,{'|'.join(reversed(text.split('|')))}" for n, text in enumerate(texts)]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(["filename,label", *rows]))
    prepared = prepare(read_labels(csv_path), tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    assert prepared.labels == dataset.labels == ("a", "b9", "b10")
    assert dataset.clips["label"].tolist() == texts
    assert dataset.label_matrix[:4].astype(int).tolist() == [
        [0, 1, 1],
        [0, 0, 1],
        [1, 0, 0],
        [1, 1, 0],
    ]
    assert dataset.is_multi_label
    with pytest.raises(
        DatasetError, match=r"12 clips of .* several labels \(the first is 'b9\|b10'"
    ):
        _ = dataset.targets
    report = check_labels(read_labels(csv_path), lambda done, total: None)
    assert report.by_label == {"a": 12, "b9": 12, "b10": 12}
    assert not report.problems


def test_synthesized_word_must_have_a_single_label(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"'a\|b' has a \|"):
        write_synthetic_clips(
            ["a|b=dog"], tmp_path / "o", voices=1, repetitions=1, seed=1, sample_rate_hz=8_000
        )
