"""Fitted baselines: their runs are resumed, exported and served; unsuitable input is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.data.features.encoder_config import feature_shape
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.layers.pooling import pooled_functionals
from earful.models.networks.baselines import fitted as fitted_module
from earful.models.networks.baselines.fitted import PooledBaseline
from earful.models.networks.flops import multiply_adds
from earful.models.networks.zoo import FITTED_NETWORKS, build_network, parameter_count
from earful.service.classifier import Classifier
from earful.training.baselines import svm as svm_module
from earful.training.baselines.fit import check_baseline, fit_baseline
from earful.training.baselines.pooled_clips import CPU, fit_embeddings, label_indices, select_label
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.export.export import export
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.loader import read_features, stored_features
from earful.training.runs.run_metrics import write_report
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochRecord,
    load_checkpoint,
    rebuild_network,
)
from earful.training.trainer.setup import feature_statistics
from earful.training.trainer.trainer import FitResult

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"trees": 10, "depth": 4},
    "gmm-hmm": {"states": 3, "mixtures": 1},
}


def small(name: str) -> TrainConfig:
    return replace(default_config(name), options=SMALL.get(name, {}))


@pytest.fixture(scope="module", params=FITTED_NETWORKS)
def fitted(
    request: pytest.FixtureRequest, short_tones: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FitResult]:
    run = tmp_path_factory.mktemp(request.param)
    return run, fit_baseline(short_tones, run, small(request.param))


def predict_probabilities(dataset: Dataset, result: FitResult, split: str) -> NDArray[np.float32]:
    kind, rows = result.checkpoint.config.features, dataset.rows(split)
    with torch.inference_mode():
        logits = torch.cat([result.network(x) for x in read_features(dataset, kind, rows)])
    return torch.softmax(logits, dim=1).numpy()


def test_metrics_are_recorded_and_the_tones_are_learned(
    short_tones: Dataset, fitted: tuple[Path, FitResult]
) -> None:
    run, result = fitted
    (record,) = result.checkpoint.history
    for split, loss, accuracy in (
        ("train", record.loss, record.accuracy),
        ("val", record.val_loss, record.val_accuracy),
    ):
        scores, targets = predict_probabilities(short_tones, result, split), short_tones.targets
        targets = targets[short_tones.rows(split)]
        assert loss == pytest.approx(log_loss(targets, scores, labels=range(3)), abs=1e-4)
        assert accuracy == (scores.argmax(1) == targets).mean()
    metrics = write_report(short_tones, run, result)
    majority = result.checkpoint.config.model == "majority"
    accuracy = metrics.test_of_classifier.accuracy
    assert accuracy == 1 / 3 if majority else accuracy > 0.9
    assert metrics.parameters == parameter_count(result.network.network) > 0
    size = feature_shape(short_tones.features, result.checkpoint.config.features)
    assert (multiply_adds(result.network.network, *size) == 0) == majority


def test_checkpoint_rebuilds_the_network(
    short_tones: Dataset, fitted: tuple[Path, FitResult]
) -> None:
    run, result = fitted
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)  # unpickles only tensors
    assert checkpoint.calibration is not None
    assert load_checkpoint(run / LAST_CHECKPOINT).history == checkpoint.history
    rebuilt = replace(result, network=rebuild_network(checkpoint))
    np.testing.assert_array_equal(
        predict_probabilities(short_tones, rebuilt, "test"),
        predict_probabilities(short_tones, result, "test"),
    )


@pytest.mark.slow
def test_baseline_is_exported_with_the_front_end_and_served(
    brief_tones: Dataset, tmp_path: Path
) -> None:
    """With the largest graph; ``tests/training/export/test_export_networks.py`` has the others."""
    name = "gmm-hmm"
    result = fit_baseline(brief_tones, tmp_path / "run", small(name))
    exported = export(tmp_path / "run", tmp_path / "model.onnx")
    assert exported.max_difference <= 1e-4
    classifier = Classifier.open(exported.path)
    assert classifier.metadata.architecture["name"] == name
    rows = brief_tones.rows("test")
    scores = classifier.run(np.ascontiguousarray(brief_tones.array("waveforms")[rows]))
    predicted = predict_probabilities(brief_tones, result, "test").argmax(1)
    assert scores.argmax(1).tolist() == predicted.tolist()


def test_finished_run_is_resumed_unchanged_and_never_overwritten(
    short_tones: Dataset, tmp_path: Path
) -> None:
    records: list[EpochRecord] = []
    config = small("logistic")
    first = fit_baseline(short_tones, tmp_path, config, on_epoch=records.append)
    before = (tmp_path / BEST_CHECKPOINT).read_bytes()
    again = fit_baseline(short_tones, tmp_path, config, resume=True, on_epoch=records.append)
    assert (first.resumed_after, again.resumed_after) == (0, 1)
    assert records == list(first.checkpoint.history) == list(again.checkpoint.history)
    with pytest.raises(TrainingError, match="--resume"):
        fit_baseline(short_tones, tmp_path, config)
    with pytest.raises(TrainingError, match=r"options \{\} -> \{'c': 2.0\}"):
        fit_baseline(short_tones, tmp_path, replace(config, options={"c": 2.0}), resume=True)
    changed = replace(short_tones, content_hash="another")
    with pytest.raises(TrainingError, match="content"):
        fit_baseline(changed, tmp_path, config, resume=True)
    assert (tmp_path / BEST_CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("name", ["random-forest", "gmm-hmm"])
def test_seed_determines_the_fit(short_tones: Dataset, tmp_path: Path, name: str) -> None:
    first, again, other = (
        fit_baseline(
            short_tones, tmp_path / run, replace(small(name), seed=seed)
        ).checkpoint.weights
        for run, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(
        first[key].shape != other[key].shape or not torch.equal(first[key], other[key])
        for key in first
    )


def test_an_option_changes_the_fit(short_tones: Dataset, tmp_path: Path) -> None:
    config = default_config("random-forest")
    deep, shallow = (
        fit_baseline(short_tones, tmp_path / name, replace(config, options=options))
        for name, options in (("deep", {"trees": 2}), ("shallow", {"trees": 2, "depth": 1}))
    )
    assert parameter_count(deep.network.network) > parameter_count(shallow.network.network)


def test_extra_and_oversampled_clips_are_fitted(short_tones: Dataset, tmp_path: Path) -> None:
    majority = small("majority")
    low = short_tones.targets == 1
    oversampled = replace(short_tones, oversample_counts=np.where(low, 3, 1))
    result = fit_baseline(oversampled, tmp_path / "oversampled", majority)
    shares = predict_probabilities(oversampled, result, "val")[0]
    in_train = short_tones.targets[short_tones.rows("train")]
    counts = np.bincount(in_train) * np.array([1, 3, 1])
    np.testing.assert_allclose(shares, counts / counts.sum(), atol=1e-6)
    only_low = np.flatnonzero(low)[:5]
    extra = replace(
        short_tones,
        folder=tmp_path / "extra",
        clips=short_tones.clips.iloc[only_low].assign(sha256="another"),
        label_matrix=short_tones.label_matrix[only_low],
    )
    (tmp_path / "extra").mkdir()
    np.save(tmp_path / "extra" / "mfcc.npy", short_tones.array("mfcc")[only_low])
    clips = stored_features(short_tones, majority, "train", CPU, AuxiliaryData(extra=extra))
    counts = np.bincount(in_train) + np.array([0, 5, 0])
    assert np.bincount(label_indices(clips)).tolist() == counts.tolist()
    features = torch.cat([part for part, _ in clips.sequential_batches()])
    stored = short_tones.array("mfcc")
    rows = np.concatenate([short_tones.rows("train"), only_low])
    np.testing.assert_array_equal(features, stored[rows])


def test_label_with_many_clips_is_subsampled(short_tones: Dataset) -> None:
    clips = stored_features(short_tones, small("majority"), "train", CPU)
    drawn = select_label(clips, 2, 4, np.random.default_rng(1))
    assert label_indices(drawn).tolist() == [2] * 4
    all_clips = select_label(clips, 2, 1000, np.random.default_rng(1))
    assert len(all_clips.sampler) == np.bincount(label_indices(clips))[2]
    ((features, targets),) = all_clips.sequential_batches()
    rows = short_tones.rows("train")
    expected = short_tones.array("mfcc")[rows[short_tones.targets[rows] == 2]]
    np.testing.assert_array_equal(features, expected)
    assert set(targets.argmax(1).tolist()) == {2}


def test_embeddings_are_standardised_as_in_the_fitted_network(
    short_tones: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By mean and standard deviation of the training clips, which are summed in chunks."""
    monkeypatch.setattr(fitted_module, "_FIT_CHUNK_CLIPS", 7)
    config = small("logistic")
    clips = stored_features(short_tones, config, "train", CPU)
    features = torch.cat([part for part, _ in clips.sequential_batches()])
    frontend = short_tones.features
    network = build_network("logistic", *feature_shape(frontend, "mfcc"), 3, {})
    assert isinstance(network, PooledBaseline)
    model = NormalisedNetwork(network, *feature_statistics(clips, default_config("logistic")))
    embeddings = fit_embeddings(model, network, clips)
    torch.testing.assert_close(embeddings, network.embed(model.normalise(features)))
    values = pooled_functionals(model.normalise(features)).double()
    expected = (values - values.mean(0)) / values.std(0, correction=0).clamp_min(1e-2)
    torch.testing.assert_close(embeddings.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("svm", {"learning_rate": 0.1}, "svm is fitted, .* it has no learning_rate;.* uses model"),
        ("logistic", {"augment": True, "mixup": 0.5}, "it has no augment, mixup"),
        ("random-forest", {"optimizer": "sgd"}, "random-forest .* no optimizer"),
        ("majority", {"loss": "bce"}, "no loss"),
        ("gmm-hmm", {"features": "log_mel"}, "gmm-hmm needs mfcc, found log_mel"),
        ("gmm-hmm", {"options": {"states": 33}}, "33 states of 3 Gaussians are too many"),
        ("svm", {"options": {"depth": 3}}, "svm has no option depth; it has c, gamma"),
        ("majority", {"options": {"c": 3}}, "majority has no option c; it has none"),
    ],
)
def test_unsupported_settings_are_refused(
    short_tones: Dataset, tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    config = replace(default_config(name), **changes)
    assert_refused(tmp_path, message, short_tones, config)


def test_unsuitable_data_is_refused(
    short_tones: Dataset, other_tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, clips = small("svm"), short_tones.clips
    no_train = replace(short_tones, clips=clips.assign(split="val"))
    assert_refused(tmp_path, "no clip in its train part", no_train, config)
    no_val = replace(short_tones, clips=clips.assign(split="train"))
    assert_refused(tmp_path, "no clip in its val part", no_val, config)
    low = clips["label"] == "low"
    no_low = replace(short_tones, clips=clips.assign(split=clips["split"].where(~low, "test")))
    assert_refused(tmp_path, "has no clip of low", no_low, config)
    negatives = replace(
        short_tones, labels=("a", "b", "c"), clips=clips.assign(sha256="another", speaker="x")
    )
    with_negatives = AuxiliaryData(negatives=negatives)
    assert_refused(tmp_path, "leave out --negatives", short_tones, config, with_negatives)
    with_extra = AuxiliaryData(extra=other_tones)
    assert_refused(tmp_path, "other features than", short_tones, config, with_extra)
    large_config = replace(config, model="gmm-hmm", options={"mixtures": 1000})
    assert_refused(tmp_path, "8 states of 1000 Gaussians are too many", short_tones, large_config)
    monkeypatch.setattr(svm_module, "MAX_CLIPS", 10)
    message = r"at most 10.* use logistic, random-forest or mlp"
    assert_refused(tmp_path, message, short_tones, config)


@pytest.mark.parametrize("name", [name for name in FITTED_NETWORKS if name != "encoder"])
def test_clips_with_several_labels_are_refused(
    short_tones: Dataset, tmp_path: Path, name: str
) -> None:
    label_matrix = short_tones.label_matrix.copy()
    label_matrix[4] = True
    multi_label = replace(
        short_tones,
        folder=tmp_path / "multi",
        label_matrix=label_matrix,
        clips=short_tones.clips.assign(sha256="another"),
    )
    message = rf"1 clips of .*multi have several labels .* {name}, unlike .* is for clips"
    assert_refused(tmp_path, message, multi_label, small(name))
    assert_refused(tmp_path, message, short_tones, small(name), AuxiliaryData(extra=multi_label))


def assert_refused(
    folder: Path,
    message: str,
    dataset: Dataset,
    config: TrainConfig,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
) -> None:
    """The input is refused before anything is fitted or written."""
    with pytest.raises(EarfulError, match=message):
        check_baseline(dataset, auxiliary, config)
    with pytest.raises(EarfulError, match=message):
        fit_baseline(dataset, folder / "run", config, auxiliary=auxiliary)
    assert list(folder.iterdir()) == []
