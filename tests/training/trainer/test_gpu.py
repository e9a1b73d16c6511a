"""Training on a GPU: the CPU's epochs, resumed runs, and memory that is too small.

Each test has its body run with the CPU in the place of the GPU too, so that a machine without one
finds faults of the tests themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.testing import assert_close

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.cnn import Cnn
from earful.models.networks.zoo import ZOO, check_options
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.trainer.checkpoint import LAST_CHECKPOINT, EpochRecord, load_checkpoint
from earful.training.trainer.lr_finder import find_learning_rate
from earful.training.trainer.trainer import FitResult, fit

TRAINED = [name for name, entry in ZOO.items() if not entry.fitted]
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
# Not Adam: it takes the sign of a gradient near zero, which rounding turns.
STEADY = {
    "batch_size": 16,
    "epochs": 1,
    "optimizer": "nesterov",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "augment": False,
    "mixup": 0.0,
    "balance": "weights",
    "grad_clip": 1.0,
}


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TF32, PyTorch's default for convolutions, whose ten bits are not comparable."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def steady_config(model: str, **changes: object) -> TrainConfig:
    """Without dropout, whose random numbers are other ones on a GPU."""
    has_dropout = hasattr(check_options(model, {}), "dropout")
    config = replace(default_config(model), options={"dropout": 0.0} if has_dropout else {})
    return replace(config, **{**STEADY, **changes})  # type: ignore[arg-type]


def assert_same_weights(run: Path, other: Path, tolerance: float) -> None:
    found, expected = (load_checkpoint(folder / LAST_CHECKPOINT) for folder in (run, other))
    assert found.weights.keys() == expected.weights.keys()
    for name, weights in expected.weights.items():
        assert_close(
            found.weights[name],
            weights,
            rtol=tolerance,
            atol=tolerance,
            msg=f"{name}: {{}}".format,
        )
    assert len(found.history) == len(expected.history)
    for one, two in zip(found.history, expected.history, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=tolerance)
        assert one.val_loss == pytest.approx(two.val_loss, rel=tolerance)


@pytest.mark.parametrize(
    ("model", "device"),
    [("mlp", "cpu"), *(pytest.param(model, "cuda", marks=GPU) for model in TRAINED)],
)
def test_an_epoch_of_each_network_equals_the_cpu(
    short_tones: Dataset, tmp_path: Path, model: str, device: TrainingDevice
) -> None:
    config = steady_config(model)
    found = fit(short_tones, tmp_path / "found", config, device=device)
    fit(short_tones, tmp_path / "expected", config, device="cpu")
    assert found.device == device
    assert_same_weights(tmp_path / "found", tmp_path / "expected", 2e-3)


@pytest.mark.filterwarnings("default")  # the compiler has advice, on TF32 for one
@pytest.mark.parametrize(
    ("device", "changes"),
    [
        ("cpu", {"precision": "bfloat16"}),
        pytest.param("cuda", {"precision": "bfloat16"}, marks=GPU),
        pytest.param("cuda", {"compile": True}, marks=GPU),
        pytest.param("cuda", {"compile": True, "precision": "bfloat16"}, marks=GPU),
        pytest.param("cuda", {"compile": True, "shards": 2}, marks=GPU),
    ],
    ids=str,
)
def test_precision_and_compilation_lead_to_the_losses_of_the_cpu(
    short_tones: Dataset, tmp_path: Path, device: TrainingDevice, changes: dict[str, object]
) -> None:
    """Compiled, with CUDA graphs where a batch is one shard."""
    config = steady_config("cnn", epochs=2, shards=changes.get("shards", 1))
    found = fit(short_tones, tmp_path / "found", replace(config, **changes), device=device)  # type: ignore[arg-type]
    expected = fit(short_tones, tmp_path / "expected", config, device="cpu")
    for one, two in zip(found.checkpoint.history, expected.checkpoint.history, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=0.02)
        assert one.val_loss == pytest.approx(two.val_loss, rel=0.02)


@on_each_device
@pytest.mark.parametrize("continued_on", ["the same device", "the CPU"])
def test_a_run_resumes(
    short_tones: Dataset, tmp_path: Path, device: TrainingDevice, continued_on: str
) -> None:
    """With the state of the optimizer and the average of the weights."""

    def stop_after_first(record: EpochRecord) -> None:
        if record.epoch == 1:
            raise KeyboardInterrupt

    config = steady_config("mlp", epochs=3, ema_decay=0.9, shards=2)
    fit(short_tones, tmp_path / "whole", config, device=device)
    with pytest.raises(KeyboardInterrupt):
        fit(short_tones, tmp_path / "run", config, device=device, on_epoch=stop_after_first)
    second: TrainingDevice = "cpu" if continued_on == "the CPU" else device
    resumed = fit(short_tones, tmp_path / "run", config, device=second, resume=True)
    assert resumed.resumed_after == 1
    assert_same_weights(tmp_path / "run", tmp_path / "whole", 1e-3)


@on_each_device
def test_a_batch_that_does_not_fit_is_halved(
    short_tones: Dataset, tmp_path: Path, device: TrainingDevice
) -> None:
    # Enough clips that activations take most of a GPU's memory.
    batch_size, oversample = (8_192, 400) if device == "cuda" else (24, 1)
    config = steady_config("cnn", batch_size=batch_size, oversample=oversample)
    notes: list[str] = []

    def train(name: str, shards: int) -> FitResult:
        changed = replace(config, shards=shards)
        return fit(short_tones, tmp_path / name, changed, device=device, on_note=notes.append)

    peaks = []
    for shards in (1, 2):
        with peak_memory(device) as peak:
            train(str(shards), shards)
        peaks += peak
    assert notes == []
    with memory_for_half_a_batch(device, peaks, batch_size):
        halved = train("halved", 1)
    assert [note.partition(":")[0] for note in notes] == [
        f"out of GPU memory with {batch_size} clips at once"
    ]
    assert halved.checkpoint.config.shards == 2
    assert_same_weights(tmp_path / "halved", tmp_path / "1", 1e-3)


@contextmanager
def peak_memory(device: TrainingDevice) -> Iterator[list[int]]:
    """Bytes that PyTorch holds of the GPU at most; afterwards they are the only item."""
    peak: list[int] = []
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield peak
    peak.append(torch.cuda.max_memory_reserved() if device == "cuda" else 0)


@contextmanager
def memory_for_half_a_batch(
    device: TrainingDevice, peaks: list[int], batch_size: int
) -> Iterator[None]:
    """Between the peaks of whole and half batches; a CPU says so, and has more."""
    if device == "cuda":
        whole, half = peaks
        assert whole > 1.3 * half
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((whole + half) / 2 / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    embed = Cnn.embed

    def embed_half(self: Cnn, features: torch.Tensor) -> torch.Tensor:
        if self.training and len(features) > batch_size // 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(self, features)

    with mock.patch.object(Cnn, "embed", embed_half):
        yield


@on_each_device
def test_augmented_clips_are_learned(
    tones: Dataset, tmp_path: Path, device: TrainingDevice
) -> None:
    """Waveforms, front end and network on the device, with dropout and all of augmentation."""
    epochs = 40 if device == "cuda" else 1
    config = replace(default_config("tcresnet"), epochs=epochs, batch_size=16, mixup=0.3)
    result = fit(tones, tmp_path, config, device=device)
    assert result.device == device
    assert device == "cpu" or (result.checkpoint.best.val_accuracy or 0) >= 0.8


@pytest.mark.slow
@on_each_device
def test_features_are_learned(tones: Dataset, tmp_path: Path, device: TrainingDevice) -> None:
    epochs = 30 if device == "cuda" else 15
    config = TrainConfig(epochs=epochs, batch_size=16, patience=10, learning_rate=3e-3)
    result = fit(tones, tmp_path, config, device=device)
    assert result.device == device
    assert (result.checkpoint.best.val_accuracy or 0) >= 0.8


@on_each_device
def test_a_learning_rate_is_found(short_tones: Dataset, device: TrainingDevice) -> None:
    curve = find_learning_rate(short_tones, steady_config("mlp"), device=device, steps=60)
    assert 1e-4 < curve.suggested < 1
