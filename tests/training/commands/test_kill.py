"""``prepare`` and ``train`` killed at any moment: the next run ends as an undisturbed one does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.killing import kill_when, run_to_the_end
from tests.training.commands.conftest import Home, RunCommand

KILLS = 6


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def let_leftovers_age(folder: Path) -> None:
    """What was begun just now may be another command's, which nothing deletes."""
    for left in folder.rglob(".*"):
        os.utime(left, (0, 0))


@pytest.mark.slow
def test_prepare_killed_again_and_again_leaves_one_dataset_and_nothing_else(
    home: Home, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    words = ["prepare", home.labels, "--out", place / "dataset", "--split", "random", "--replace"]
    kills = sum(kill_when(words, place, n_changes) for n_changes in range(1, 7))
    assert kills >= 3
    let_leftovers_age(place)
    run_to_the_end(words)
    assert {path.name for path in place.iterdir()} == {"dataset"}
    for name in ("waveforms.npy", "mfcc.npy", "log_mel.npy"):
        assert np.array_equal(np.load(place / "dataset" / name), np.load(home.dataset / name))


@pytest.mark.slow
def test_train_killed_again_and_again_ends_as_if_undisturbed(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    settings = ["--model", "mlp", "--epochs", KILLS + 2, "--patience", 99, "--device", "cpu"]
    settings += ["--batch-size", 16, "--seed", 3]
    whole, run = tmp_path / "whole", tmp_path / "place" / "run"
    assert earful("train", home.dataset, "--out", whole, *settings).exit_code == 0
    run.parent.mkdir()
    words = ["train", home.dataset, "--out", run, "--resume", *settings]
    kills = sum(kill_when(words, run.parent, 2 + n_changes) for n_changes in range(KILLS))
    assert kills >= KILLS // 2
    let_leftovers_age(run.parent)
    run_to_the_end(words)
    assert names_below(run) == names_below(whole)
    one, other = (torch.load(place / "best.pt", weights_only=True) for place in (whole, run))
    for name, weights in one["weights"].items():
        assert torch.allclose(weights, other["weights"][name], atol=1e-6), name
    curves = [
        [epoch["loss"] for epoch in json.loads((place / "metrics.json").read_text())["history"]]
        for place in (whole, run)
    ]
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
