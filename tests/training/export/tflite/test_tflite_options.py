"""What ``export --target tflite`` refuses before it converts anything."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from earful.training.export.tflite.parity import Parity, check_parity
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.metrics.paired_accuracy import PairedAccuracy
from tests.training.commands.conftest import Home, RunCommand, earful, home

__all__ = ["earful", "home"]


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is not None, reason="it is installed")
def test_a_missing_converter_is_a_sentence_with_the_command(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    result = earful("export", home.run, "--target", "tflite", "--out", tmp_path / "m.tflite")
    assert str(result.exception).endswith("install it with: uv sync --inexact --group tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--features-outside"], "--features-outside is for --target tflite; leave it out"),
        (["--target", "tflite", "--web-runtime", "f"], "--web-runtime is for --target web"),
        (["--target", "tflite", "--max-lost-points", "0"], "--max-lost-points is for --int8"),
    ],
)
def test_flags_that_say_nothing_are_refused(
    flags: list[str], sentence: str, home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    result = earful("export", home.run, "--out", tmp_path / "m.tflite", *flags)
    assert sentence in str(result.exception)


def test_scores_that_differ_are_refused() -> None:
    accuracy = PairedAccuracy.of(np.ones(3, bool), np.ones(3, bool))
    check_parity(Parity(accuracy, 9e-5))
    for difference in (2e-4, float("nan")):
        with pytest.raises(TfliteError, match="on 3 validation clips"):
            check_parity(Parity(accuracy, difference))
