"""Loaders of clips that claim to be on CUDA: batches are there, with the values of the CPU."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import AugmentStrength, TrainConfig, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA
from earful.training.loaders.class_weights import class_weights, positive_weights, sampling_weights
from earful.training.loaders.loader import (
    AugmentedWaveforms,
    BatchLoader,
    augmented_features,
    augmented_waveforms,
    stored_features,
)
from earful.training.loaders.sampler import NO_LABEL, BatchPlan, Targets
from earful.training.loaders.storage import InMemory, MemoryMapped
from tests.fixtures import claimed_cuda as fixture
from tests.fixtures.claimed_cuda import CUDA, claimed_cuda, values_of

CPU = torch.device("cpu")
PLAN = BatchPlan(24, seed=5, shards=2, own_shards=range(2))
AUGMENTED = replace(default_config("tcresnet"), mixup=0.5)


def assert_batches_equal_the_cpu(loader_on: Callable[[torch.device], BatchLoader]) -> None:
    expected = list(loader_on(CPU).batch_shards(PLAN))
    with claimed_cuda():
        batches = list(loader_on(CUDA).batch_shards(PLAN))
    assert len(batches) == len(expected) > 1
    for batch, other in zip(batches, expected, strict=True):
        assert batch.features.device.type == batch.targets.device.type == "cuda"
        torch.testing.assert_close(values_of(batch.features), other.features)
        torch.testing.assert_close(values_of(batch.targets), other.targets)
        assert (batch.shard, batch.share, batch.is_last) == (
            other.shard,
            other.share,
            other.is_last,
        )


@pytest.mark.parametrize("free_bytes", [1 << 30, 0], ids=["in memory", "memory-mapped"])
@pytest.mark.parametrize("model", ["cnn", "encoder-finetuned"], ids=["stored", "computed"])
def test_features(
    short_tones: Dataset, model: str, free_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixture, "FREE_BYTES", free_bytes)
    config = replace(default_config(model), augment=False)
    assert_batches_equal_the_cpu(
        lambda device: stored_features(short_tones, config, "train", device)
    )


def test_the_free_memory_of_the_gpu_decides_where_clips_are(
    short_tones: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed_cuda():
        assert isinstance(features_on_cuda(short_tones), InMemory)
        monkeypatch.setattr(fixture, "FREE_BYTES", 100_000)
        assert isinstance(features_on_cuda(short_tones), MemoryMapped)


def features_on_cuda(dataset: Dataset) -> object:
    return stored_features(dataset, TrainConfig(), "train", CUDA).features


@pytest.mark.slow
@pytest.mark.parametrize("strength", ["mild", "default", "strong"])
def test_augmented_waveforms(short_tones: Dataset, strength: AugmentStrength) -> None:
    config = replace(AUGMENTED, augment_strength=strength)
    assert_batches_equal_the_cpu(
        lambda device: augmented_waveforms(short_tones, NO_AUXILIARY_DATA, config, device)
    )


@pytest.mark.slow
def test_background_and_clips_without_a_label(short_tones: Dataset) -> None:
    """Half of the clips are background, and the last ten are negatives."""

    def loader(device: torch.device) -> AugmentedWaveforms:
        config = replace(AUGMENTED, balance="sampling")
        clips = augmented_waveforms(short_tones, NO_AUXILIARY_DATA, config, device)
        values = clips.targets.values.clone()
        values[-10:] = NO_LABEL
        return replace(clips, targets=replace(clips.targets, values=values), noise_only=0.5)

    assert_batches_equal_the_cpu(loader)


@pytest.mark.slow
def test_augmented_validation_clips(short_tones: Dataset) -> None:
    expected = augmented_features(short_tones, AUGMENTED, "val", CPU)
    with claimed_cuda():
        clips = augmented_features(short_tones, AUGMENTED, "val", CUDA)
        batches = list(clips.sequential_batches())
    for (features, targets), others in zip(batches, expected.sequential_batches(), strict=True):
        assert features.device.type == targets.device.type == "cuda"
        torch.testing.assert_close(values_of(features), others[0])
        torch.testing.assert_close(values_of(targets), others[1])


@pytest.mark.parametrize(
    "values",
    [torch.tensor([0, 2, 1, NO_LABEL, 2]), torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]).bool()],
    ids=["one label", "several labels"],
)
@pytest.mark.parametrize("weights_of", [class_weights, positive_weights, sampling_weights])
def test_targets_and_their_weights(
    values: Tensor, weights_of: Callable[[Tensor, int], Tensor]
) -> None:
    rows, expected = torch.tensor([2, 0]), Targets(values, 3, 1 / 3)
    with claimed_cuda():
        targets = Targets(values.to(CUDA), 3, 1 / 3)
        gathered, weights = targets.gather(rows), weights_of(targets.values, 3)
        assert gathered.device.type == weights.device.type == "cuda"
    torch.testing.assert_close(values_of(gathered), expected.gather(rows))
    torch.testing.assert_close(values_of(weights), weights_of(values, 3))
