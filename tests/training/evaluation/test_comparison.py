"""``compare`` trains, measures and times every candidate, resumes, and refuses bad input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainingError
from earful.training.evaluation.candidates import comparison_table
from earful.training.evaluation.comparison import compare
from earful.training.evaluation.evaluator import evaluate_model

pytestmark = pytest.mark.slow

SHORT = {"epochs": 1, "batch_size": 16}
# A network with a setting of its own, and a baseline that is fitted in one go.
NETWORKS = ["cnn:norm=batch", "logistic"]


def test_each_network_gets_a_row_with_all_datasets(
    tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    rows = compare([tones, other_tones], NETWORKS, tmp_path, overrides=SHORT)
    assert [row.model for row in rows] == NETWORKS
    for row in rows:
        assert [result.dataset for result in row.accuracies] == [
            "tones (random)",
            "dataset (random)",
        ]
        assert all(0 <= result.accuracy <= 1 and result.clips == 12 for result in row.accuracies)
        assert row.latency_ms > 0 < row.multiply_adds
    lines = comparison_table(rows).splitlines()
    assert len(lines) == 2 + len(NETWORKS)
    assert len({line.count("|") for line in lines}) == 1
    assert (tmp_path / "compare.md").read_text() == comparison_table(rows) + "\n"
    written = json.loads((tmp_path / "compare.json").read_text())
    assert [row["model"] for row in written] == NETWORKS
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    label_tuples = {Classifier.open(tmp_path / row["file"]).labels for row in written}
    assert label_tuples == {tones.labels}
    [trained, _] = rows
    [again] = compare([tones, other_tones], [trained.model], tmp_path, overrides=SHORT)
    assert replace(again, latency_ms=0) == replace(trained, latency_ms=0)


def test_int8_has_a_row_of_its_own_where_it_is_possible(tones: Dataset, tmp_path: Path) -> None:
    messages: list[str] = []
    networks = ["cnn:learning_rate=2e-3", "logistic"]
    longer = SHORT | {"epochs": 4}

    def on_skipped(message: str) -> None:
        messages.append(message)
        written = json.loads((tmp_path / "compare.json").read_text())
        assert written[-1]["model"] == "logistic"  # it is not lost with its INT8 version

    rows = compare([tones], networks, tmp_path, overrides=longer, int8=True, on_skipped=on_skipped)
    assert [(row.model, row.precision) for row in rows] == [
        (networks[0], "float32"),
        (networks[0], "int8"),
        ("logistic", "float32"),
    ]
    [message] = messages
    assert message.startswith("INT8 of logistic is skipped: INT8 speeds up convolutions")
    before, after = rows[:2]
    for row in rows:
        assert row.size_bytes == (tmp_path / row.file).stat().st_size
    assert after.size_bytes < before.size_bytes
    evaluated = evaluate_model(tmp_path / after.file, tones.folder / "test.csv").metrics
    assert after.accuracies[0].accuracy == evaluated.accuracy
    assert after.accuracies[0].accuracy_ci95 == evaluated.accuracy_ci95
    assert f"| `{networks[0]}` INT8 |" in (tmp_path / "compare.md").read_text()


def test_invalid_comparison_is_refused_before_any_training(tones: Dataset, tmp_path: Path) -> None:
    without_test = replace(tones, clips=tones.clips.assign(split="train"))
    with pytest.raises(TrainingError, match="two datasets are called tones"):
        compare([tones, tones], ["cnn"], tmp_path, overrides=SHORT)
    with pytest.raises(TrainingError, match="has no test clips"):
        compare([without_test], ["cnn"], tmp_path, overrides=SHORT)
    with pytest.raises(EarfulError, match="there is no network 'vgg'"):
        compare([tones], ["vgg"], tmp_path, overrides=SHORT)
    with pytest.raises(EarfulError, match="autoencoder is not a classifier"):
        compare([tones], ["cnn", "autoencoder"], tmp_path, overrides=SHORT)
    with pytest.raises(EarfulError, match="no setting is called 'trees'"):
        compare([tones], ["cnn:trees=3"], tmp_path, overrides=SHORT)
    with pytest.raises(EarfulError, match="names cnn twice"):
        compare([tones], ["cnn", "cnn"], tmp_path, overrides=SHORT)
    with pytest.raises(EarfulError, match="gmm-hmm"):
        compare([tones], ["cnn", "gmm-hmm:features=log_mel"], tmp_path, overrides=SHORT)
    assert list(tmp_path.iterdir()) == []


def test_untrainable_candidate_is_skipped_and_reported(
    tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_matrix = tones.label_matrix.copy()
    label_matrix[tones.rows("train")[0]] = True
    multi_label = replace(tones, label_matrix=label_matrix)
    monkeypatch.setattr(
        "earful.training.evaluation.comparison.CLASSIFIER_NETWORKS", ("logistic", "mlp")
    )
    messages: list[str] = []
    rows = compare([multi_label], None, tmp_path, overrides=SHORT, on_skipped=messages.append)
    assert [row.model for row in rows] == ["mlp"]
    assert len(messages) == 1
    assert messages[0].startswith("logistic is skipped: 1 clips of")
