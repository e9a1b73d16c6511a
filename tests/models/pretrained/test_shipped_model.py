"""The shipped digit models: small, documented by cards, and accurate on real recordings."""

import csv
from pathlib import Path

import numpy as np
import pytest

from earful.models.registry.find_model import find_model
from earful.models.registry.shipped import SHIPPED_MODEL, SHIPPED_MODELS
from earful.service.classifier import Classifier


@pytest.fixture(scope="module", params=SHIPPED_MODELS)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return Classifier.open(find_model(request.param))


def test_shipped_models_are_small_and_have_a_card(classifier: Classifier) -> None:
    path = classifier.bundle.path
    assert path.stat().st_size <= 2_300_000
    assert classifier.labels == tuple("0123456789")
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for word in ("earful.training.recipes.digits.train_digits", "CC BY-SA 4.0", "Limits"):
        assert word in card


def test_the_file_says_whose_weights_it_holds() -> None:
    architecture = Classifier.open(SHIPPED_MODEL).metadata.architecture
    assert architecture["pretrained"]["licence"] == "Apache-2.0"


def test_no_model_and_its_name_are_the_default(tmp_path: Path) -> None:
    assert find_model(None) == SHIPPED_MODEL == find_model("digits", str(tmp_path))


def official_test(fsdd: Path) -> list[tuple[str, bytes]]:
    with (fsdd / "labels_full.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [(row["label"], (fsdd / "recordings" / row["filename"]).read_bytes()) for row in rows]


@pytest.mark.slow
def test_shipped_model_is_accurate_on_the_official_test_set(
    classifier: Classifier, fsdd: Path
) -> None:
    """Measured: 299 of 300. Other machines round differently, so a few more may be wrong."""
    clips = official_test(fsdd)
    waveforms = [classifier.decode(blob).waveform for _, blob in clips]
    correct = [
        prediction.label == label
        for prediction, (label, _) in zip(classifier.classify(waveforms), clips, strict=True)
    ]
    assert len(correct) == 300
    assert sum(correct) >= 297


@pytest.mark.slow
def test_digit_is_found_anywhere_in_two_seconds_of_noise(
    classifier: Classifier, fsdd: Path
) -> None:
    """Measured: 299 of 300 in white noise 60 dB below full scale; every third is tested."""
    rng = np.random.default_rng(0)
    correct = []
    for label, blob in official_test(fsdd)[::3]:
        word = classifier.decode(blob).waveform[:16_000]
        recording = (1e-3 * rng.standard_normal(16_000)).astype(np.float32)
        start = rng.integers(0, 16_001 - len(word))
        recording[start : start + len(word)] += word
        correct.append(classifier.classify([recording])[0].label == label)
    assert sum(correct) >= 0.97 * len(correct)
