"""``encoder``: its head, its cache, negatives, encoder files, and one ONNX file of all."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.errors import EarfulError
from earful.service.classifier import Classifier
from earful.training.baselines import encoder as encoder_module
from earful.training.baselines.encoder import minimise_head_loss
from earful.training.baselines.fit import fit_baseline
from earful.training.config.overrides import apply_overrides
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.export.export import export, load_best_epoch
from earful.training.loaders.auxiliary_data import AuxiliaryData
from tests.fixtures.encoder_file import write_encoder

GENERATOR = np.random.default_rng(5)


@pytest.fixture
def dataset(short_tones: Dataset, tmp_path: Path) -> Dataset:
    """A copy, since a fit writes its vectors into the dataset."""
    shutil.copytree(short_tones.folder, tmp_path / "tones")
    return open_dataset(tmp_path / "tones")


@pytest.fixture(scope="module")
def encoder_file(short_tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It does not say the sample rate that it takes."""
    folder = tmp_path_factory.mktemp("encoder")
    return write_encoder(folder / "own.onnx", short_tones.features.clip_samples)


def copy_with_rate(encoder_file: Path, path: Path, rate_hz: int) -> Path:
    model = onnx.load(encoder_file)
    onnx.helper.set_model_props(model, {"sample_rate": str(rate_hz)})
    onnx.save(model, path)
    return path


def with_file(path: Path) -> TrainConfig:
    return apply_overrides(default_config("encoder"), {"encoder": str(path)})


def test_the_head_is_logistic_regression() -> None:
    x = GENERATOR.standard_normal((120, 8)).astype(np.float32)
    labels = (x[:, :3] + 0.5 * GENERATOR.standard_normal((120, 3))).argmax(1)
    targets = torch.eye(3)[torch.from_numpy(labels)]
    weight, bias = minimise_head_loss(torch.from_numpy(x), targets, 0.3, "cross-entropy")
    fitted = LogisticRegression(C=0.3, tol=1e-8, max_iter=1000).fit(x, labels)
    np.testing.assert_allclose(weight.numpy(), fitted.coef_, atol=2e-3)
    expected = fitted.predict_proba(x)
    found = torch.softmax(torch.from_numpy(x) @ weight.T + bias, dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_vectors_are_computed_once_per_dataset(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = default_config("encoder")
    first = fit_baseline(dataset, tmp_path / "one", config)
    [cache] = dataset.folder.glob("encoder-*.npy")
    assert np.load(cache).shape == (len(dataset.clips), 3 * 96)

    def read_features(*args: object) -> None:
        raise AssertionError("the cache was not used")

    with monkeypatch.context() as patch:
        patch.setattr(encoder_module, "read_features", read_features)
        again = fit_baseline(dataset, tmp_path / "two", config)
    assert first.checkpoint.history[0].val_loss == again.checkpoint.history[0].val_loss
    cache.write_bytes(cache.read_bytes()[:200])  # damaged: it is computed again
    third = fit_baseline(dataset, tmp_path / "three", config)
    assert first.checkpoint.history[0].val_loss == third.checkpoint.history[0].val_loss


@pytest.mark.slow
def test_negatives_become_less_sure(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.folder, tmp_path / "noise")
    noise = open_dataset(tmp_path / "noise")
    waveforms = GENERATOR.standard_normal(noise.array("waveforms").shape).astype(np.float32)
    np.save(tmp_path / "noise" / "waveforms.npy", 0.1 * waveforms)
    negatives = replace(
        noise,
        labels=tuple(f"noise{i}" for i in range(len(noise.labels))),
        clips=noise.clips.assign(sha256=[str(i) for i in range(len(noise.clips))], speaker=""),
    )
    config = default_config("encoder")
    highest = []
    for name, auxiliary in (("without", AuxiliaryData()), ("with", AuxiliaryData(None, negatives))):
        fit_baseline(dataset, tmp_path / name, config, auxiliary=auxiliary)
        _, model = load_best_epoch(tmp_path / name)
        with torch.inference_mode():
            scores, _ = model(torch.from_numpy(0.1 * waveforms[:32]))
        highest.append(float(scores.amax(dim=1).mean()))
    assert highest[1] < highest[0] - 0.1


@pytest.mark.slow
def test_an_encoder_file_and_its_head_become_one_model(
    dataset: Dataset, encoder_file: Path, tmp_path: Path
) -> None:
    path = copy_with_rate(encoder_file, tmp_path / "own.onnx", dataset.features.sample_rate_hz)
    result = fit_baseline(dataset, tmp_path / "run", with_file(path))
    assert result.checkpoint.history[0].val_accuracy == 1.0
    exported = export(tmp_path / "run", tmp_path / "model.onnx")
    assert exported.max_difference <= 1e-4
    assert "pretrained" not in exported.metadata.architecture
    path.unlink()  # the model needs it no more
    classifier = Classifier.open(exported.path)
    rows = dataset.rows("test")
    predicted = classifier.run(dataset.waveforms(rows)).argmax(1)
    assert (predicted == dataset.targets[rows]).mean() > 0.9
    with pytest.raises(EarfulError, match="no encoder file"):
        export(tmp_path / "run", tmp_path / "again.onnx")


def test_another_file_under_the_same_name_is_refused(
    dataset: Dataset, encoder_file: Path, tmp_path: Path
) -> None:
    rate_hz = dataset.features.sample_rate_hz
    path = copy_with_rate(encoder_file, tmp_path / "own.onnx", rate_hz)
    fit_baseline(dataset, tmp_path / "run", with_file(path))
    copy_with_rate(encoder_file, path, rate_hz + 1)
    with pytest.raises(EarfulError, match="is not the encoder that this network was trained with"):
        export(tmp_path / "run", tmp_path / "model.onnx")


def test_an_encoder_of_another_rate_is_refused(
    dataset: Dataset, encoder_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"takes 16000 Hz, .* prepare with --sample-rate 16000"):
        fit_baseline(dataset, tmp_path / "run", with_file(encoder_file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a usable ONNX model"),
        (b"RIFF1234WAVE", "not a usable ONNX model"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    dataset: Dataset, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "own.onnx").write_bytes(content)
    with pytest.raises(EarfulError, match=message):
        fit_baseline(dataset, tmp_path / "run", with_file(tmp_path / "own.onnx"))


def test_a_model_of_another_shape_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    def refuse(inputs: list[int | str], outputs: list[int | str], message: str) -> None:
        node = onnx.helper.make_node("Identity", ["a"], ["b"])
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [node], "g", [value("a", 1, inputs)], [value("b", 1, outputs)]
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
        model.ir_version = 10
        onnx.save(model, tmp_path / "own.onnx")
        with pytest.raises(EarfulError, match=message):
            fit_baseline(dataset, tmp_path / "run", with_file(tmp_path / "own.onnx"))

    refuse(["n", 3, 4], ["n", 3, 4], r"takes float32 \(batch, samples\)")
    refuse([1, "samples"], [1, "samples"], "fixed batch of 1")
    refuse(["n", "samples"], ["n", "samples"], r"two clips gave \(2, \d+\)")
