"""One table of all networks: trained, sized, timed, and gone on with where it was stopped."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data.dataset import Dataset
from data.errors import EarshotError
from training.compare import compare
from training.config import TrainingError
from training.contenders import table

SHORT = {"epochs": 1, "batch_size": 16}
NETWORKS = ["cnn", "tcresnet"]  # of each kind one: the others take long


def test_each_network_gets_a_row_with_all_datasets(
    tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    rows = compare([tones, other_tones], NETWORKS, tmp_path, given=SHORT)
    assert [row.model for row in rows] == NETWORKS
    for row in rows:
        assert [found.dataset for found in row.accuracies] == ["tones (random)", "dataset (random)"]
        assert all(0 <= found.accuracy <= 1 and found.clips == 12 for found in row.accuracies)
        assert row.milliseconds > 0 < row.multiply_adds
    lines = table(rows).splitlines()
    assert len(lines) == 2 + len(NETWORKS)
    assert len({line.count("|") for line in lines}) == 1
    assert (tmp_path / "compare.md").read_text() == table(rows) + "\n"
    again = compare([tones, other_tones], NETWORKS, tmp_path, given=SHORT)
    for before, after in zip(rows, again, strict=True):
        assert replace(before, milliseconds=0) == replace(after, milliseconds=0)
    assert len(json.loads((tmp_path / "compare.json").read_text())) == len(NETWORKS)


def test_what_cannot_be_compared_is_refused_before_any_training(
    tones: Dataset, tmp_path: Path
) -> None:
    untested = replace(tones, clips=tones.clips.assign(split="train"))
    with pytest.raises(TrainingError, match="two datasets are called tones"):
        compare([tones, tones], ["cnn"], tmp_path, given=SHORT)
    with pytest.raises(TrainingError, match="nothing back to test on"):
        compare([untested], ["cnn"], tmp_path, given=SHORT)
    with pytest.raises(EarshotError, match="no network is called 'vgg'"):
        compare([tones], ["vgg"], tmp_path, given=SHORT)
    with pytest.raises(EarshotError, match="autoencoder names no labels"):
        compare([tones], ["cnn", "autoencoder"], tmp_path, given=SHORT)
    assert list(tmp_path.iterdir()) == []
