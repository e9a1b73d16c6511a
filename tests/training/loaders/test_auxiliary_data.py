"""Auxiliary training data: extra clips, negatives, and synthetic background."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.data.features.frontend import Frontend
from earful.training.config.train_config import TrainingError, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.loader import (
    AugmentedWaveforms,
    StoredFeatures,
    augmented_features,
    augmented_waveforms,
)
from earful.training.loaders.sampler import BatchPlan
from earful.training.trainer.setup import training_loader
from earful.training.trainer.trainer import fit

CPU = torch.device("cpu")


@pytest.fixture
def negatives(other_tones: Dataset) -> Dataset:
    """The clips of ``other_tones`` under labels that no dataset has."""
    named = other_tones.clips.assign(label="gong " + other_tones.clips["label"])
    return replace(
        other_tones, clips=named, labels=tuple(f"gong {name}" for name in other_tones.labels)
    )


def test_negatives_are_read_once_per_epoch_with_a_uniform_target(
    tones: Dataset, negatives: Dataset
) -> None:
    config = replace(default_config("cnn"), oversample=2)
    clips = augmented_waveforms(tones, AuxiliaryData(negatives=negatives), config, CPU)
    targets = torch.cat([part.targets for part in clips.batch_shards(BatchPlan(16, seed=1))])
    uniform = (targets == 1 / 3).all(dim=1)
    assert int(uniform.sum()) == len(negatives.clips)
    assert len(targets) == 2 * len(tones.rows("train")) + len(negatives.clips)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))


def test_share_of_clips_is_synthetic_background(tones: Dataset) -> None:
    clips = augmented_waveforms(
        tones, NO_AUXILIARY_DATA, replace(default_config("crnn"), oversample=20), CPU
    )
    clips = replace(clips, noise_only=0.25)
    targets = torch.cat([part.targets for part in clips.batch_shards(BatchPlan(64, seed=1))])
    share = (targets.amax(1) < 0.5).double().mean()
    assert float(share) == pytest.approx(0.25, abs=0.05)


def test_background_is_used_only_with_negatives(tones: Dataset, negatives: Dataset) -> None:
    config = replace(default_config("tcresnet"), noise_only=0.5)
    with_negatives, without = (
        training_loader(tones, auxiliary, config, CPU)
        for auxiliary in (AuxiliaryData(negatives=negatives), AuxiliaryData())
    )
    assert isinstance(with_negatives, AugmentedWaveforms)
    assert isinstance(without, AugmentedWaveforms)
    assert (with_negatives.noise_only, without.noise_only) == (0.5, 0.0)


def features_of(clips: StoredFeatures) -> torch.Tensor:
    return torch.cat([features for features, _ in clips.sequential_batches()])


def test_calibration_uses_the_augmented_split(tones: Dataset) -> None:
    config = default_config("crnn")
    augmented = augmented_features(tones, config, "val", CPU)
    rows = tones.rows("val")
    assert sorted(augmented.targets.values.tolist()) == sorted(tones.targets[rows].tolist() * 4)
    plain = Frontend(tones.features).log_mel(
        torch.from_numpy(np.ascontiguousarray(tones.array("waveforms")[rows]))
    )
    torch.testing.assert_close(
        features_of(augmented).double().mean(), plain.double().mean(), atol=1e-3, rtol=0
    )
    augmenting = replace(config, augment=True)
    changed = features_of(augmented_features(tones, augmenting, "val", CPU))
    assert not torch.allclose(changed, features_of(augmented))
    assert torch.equal(changed, features_of(augmented_features(tones, augmenting, "val", CPU)))


@pytest.mark.slow
def test_labels_of_the_dataset_are_refused_as_negatives(
    tones: Dataset, other_tones: Dataset, negatives: Dataset, tmp_path: Path
) -> None:
    quick = replace(default_config("tcresnet"), epochs=1, batch_size=16)
    with pytest.raises(TrainingError, match="negatives must have none of its labels"):
        fit(tones, tmp_path, quick, auxiliary=AuxiliaryData(negatives=other_tones))
    incompatible = replace(negatives, features=replace(tones.features, n_mels=20, n_mfcc=20))
    with pytest.raises(TrainingError, match="--sample-rate"):
        fit(tones, tmp_path, quick, auxiliary=AuxiliaryData(negatives=incompatible))
    result = fit(tones, tmp_path, quick, auxiliary=AuxiliaryData(negatives=negatives))
    assert "negatives:" in result.checkpoint.dataset_hash
