"""Batches do not depend on how clips are stored, or on which process computes a shard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.audio.pcm import as_float, as_int16
from earful.data.augmentation.pipeline import STRONG_AUGMENTATION
from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import read_labels
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.loaders import storage
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.loader import BatchLoader, augmented_waveforms, stored_features
from earful.training.loaders.sampler import BatchPlan
from earful.training.loaders.storage import (
    ClipSource,
    InMemory,
    MemoryMapped,
    open_clips,
    read_sequentially,
)

CPU = torch.device("cpu")
SMAPS = Path("/proc/self/smaps")
AUGMENTED = replace(default_config("tcresnet"), mixup=0.3)


def read(batches: BatchLoader, plan: BatchPlan) -> tuple[torch.Tensor, torch.Tensor]:
    shards = list(batches.batch_shards(plan))
    return torch.cat([s.features for s in shards]), torch.cat([s.targets for s in shards])


@pytest.mark.parametrize("config", [TrainConfig(), AUGMENTED], ids=["stored", "augmented"])
def test_memory_mapped_clips_equal_in_memory_clips(
    tones: Dataset, other_tones: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches() -> BatchLoader:
        if not config.augment:
            return stored_features(tones, config, "train", CPU)
        return augmented_waveforms(tones, AuxiliaryData(extra=other_tones), config, CPU)

    in_memory = read(batches(), BatchPlan(16, seed=5))
    monkeypatch.setattr(storage, "MAX_IN_MEMORY_BYTES_CPU", 0)
    memory_mapped = read(batches(), BatchPlan(16, seed=5))
    assert torch.equal(in_memory[0], memory_mapped[0])
    assert torch.equal(in_memory[1], memory_mapped[1])


@pytest.mark.slow
def test_strong_augmentation_is_louder_and_requires_augmentation(tones: Dataset) -> None:
    strong = replace(AUGMENTED, mixup=0.0, augment_strength="strong")
    assert strong.augment_config() == STRONG_AUGMENTATION

    def background_level_db(config: TrainConfig) -> float:
        """Mean of the softer half of all bins and frames, in decibels."""
        batches = augmented_waveforms(tones, NO_AUXILIARY_DATA, replace(config, oversample=20), CPU)
        features, _ = read(batches, BatchPlan(16, seed=5))
        values = features.flatten(1).sort(dim=1).values
        return float(values[:, : values.shape[1] // 2].mean())

    default = replace(strong, augment_strength="default")
    assert background_level_db(strong) > background_level_db(default) + 3
    with pytest.raises(TrainingError, match="give --augment too"):
        TrainConfig(augment_strength="strong")


def test_clip_storage_is_chosen_by_size(tones: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ClipSource(tones.array("mfcc"), np.arange(40))
    assert isinstance(open_clips([source], CPU), InMemory)
    monkeypatch.setattr(storage, "MAX_IN_MEMORY_BYTES_CPU", source.nbytes - 1)
    assert isinstance(open_clips([source], CPU), MemoryMapped)


def test_int16_and_float_clips_are_gathered_together() -> None:
    floats = np.random.default_rng(0).uniform(-1, 1, (6, 10)).astype(np.float32)
    integers = as_int16(floats[::-1])
    sources = [ClipSource(floats, np.array([1, 3])), ClipSource(integers, np.array([5, 0]))]
    expected = np.stack([floats[3], as_float(integers)[0], floats[1], as_float(integers)[5]])
    for clips in (open_clips(sources, CPU), MemoryMapped(sources, CPU)):
        gathered = clips.gather(torch.tensor([1, 3, 0, 2]))
        np.testing.assert_array_equal(gathered.numpy(), expected)


@pytest.mark.slow
@pytest.mark.skipif(not SMAPS.is_file(), reason="only Linux reports resident memory of a file")
def test_mapped_pages_are_released_after_reading(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4096, 1024)).astype(np.float32)  # 16 MiB
    np.save(tmp_path / "big.npy", values)
    array = np.load(tmp_path / "big.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(4096) % 16 != 3)[::-1]
    batches, resident = [], []
    for batch in read_sequentially(ClipSource(array, rows), batch_size=100):
        batches.append(batch)
        resident.append(resident_kib(tmp_path / "big.npy"))
    np.testing.assert_array_equal(torch.cat(batches), values[rows])
    assert [len(batch) for batch in batches] == [100] * 38 + [40]
    assert max(resident) < 1 << 10  # of 16 MiB


def resident_kib(file: Path) -> int:
    """Resident memory of a mapped file in this process, in KiB."""
    _, _, after = SMAPS.read_text().partition(str(file))
    return int(after.partition("Rss:")[2].split()[0])


def test_int16_waveforms_are_half_the_size_and_off_by_half_a_step_at_most(
    tones_csv: Path, tones: Dataset, tmp_path: Path
) -> None:
    features = FeatureConfig.for_rate(8_000)
    prepare(read_labels(tones_csv), tmp_path / "small", features=features, int16=True)
    small = open_dataset(tmp_path / "small")
    assert small.array("waveforms").dtype == np.int16
    error = np.abs(small.waveforms(slice(None)) - tones.waveforms(slice(None))).max()
    assert error <= 0.5 / 32768
    extremes = as_int16(np.array([-2.0, -1.0, 0.0, 1.0], np.float32))
    assert extremes.tolist() == [-32768, -32768, 0, 32767]


@pytest.mark.parametrize(
    ("clips", "batch", "shards", "batches"),
    [(64, 16, 1, 4), (65, 16, 1, 4), (66, 16, 1, 5), (3, 16, 1, 1), (67, 16, 2, 4), (68, 16, 2, 5)],
)
def test_too_small_final_batch_is_merged_into_the_previous_one(
    clips: int, batch: int, shards: int, batches: int
) -> None:
    assert BatchPlan(batch, 1, shards).batches(clips) == batches


def test_every_clip_is_read_once_an_epoch(tones: Dataset) -> None:
    batches = stored_features(tones, TrainConfig(), "train", CPU)
    for shards in (1, 2, 3):
        features, _ = read(batches, BatchPlan(10, seed=3, shards=shards, own_shards=range(shards)))
        stored = torch.from_numpy(tones.array("mfcc")[tones.rows("train")])
        key = features.sum(dim=(1, 2)).sort().values
        torch.testing.assert_close(key, stored.sum(dim=(1, 2)).sort().values)


@pytest.mark.parametrize("config", [TrainConfig(), AUGMENTED], ids=["stored", "augmented"])
def test_shard_does_not_depend_on_the_process_that_computes_it(
    tones: Dataset, config: TrainConfig
) -> None:
    batches: BatchLoader = (
        augmented_waveforms(tones, NO_AUXILIARY_DATA, config, CPU)
        if config.augment
        else stored_features(tones, config, "train", CPU)
    )
    plan = BatchPlan(16, seed=5, shards=4, own_shards=range(4))
    single_process = list(batches.batch_shards(plan))
    for own_shards in (range(2), range(2, 4)):
        one_of_two = list(batches.batch_shards(replace(plan, own_shards=own_shards)))
        expected = [part for part in single_process if part.shard in own_shards]
        assert [part.shard for part in one_of_two] == [part.shard for part in expected]
        for part, expected_part in zip(one_of_two, expected, strict=True):
            assert torch.equal(part.features, expected_part.features)
            assert part.share == expected_part.share
            assert part.is_last == (part.shard == own_shards[-1])
    total_share = sum(part.share for part in single_process)
    assert total_share == pytest.approx(plan.batches(len(batches.sampler)))
