"""What an epoch reads: stored features, or waveforms that are augmented anew each time.

Both yield raw features (batch, bins, frames) and target distributions (batch, labels), computed on
the training device, in an order and with an augmentation that the seed decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.augment import Recipe, augment_log_mel, augment_waveforms, mixup
from data.dataset import Dataset
from data.features import FeatureKind
from data.frontend import Frontend
from training.config import TrainingError

EVALUATION_BATCH = 256


class Batches(Protocol):
    """The training clips, as batches."""

    def __len__(self) -> int: ...

    def shuffled(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches of all clips in an order that the seed decides."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features (clips, bins, frames) and targets (clips,) of one split, on the training device."""

    features: Tensor
    targets: Tensor
    n_labels: int

    def __len__(self) -> int:
        return len(self.targets)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in _shuffled_rows(len(self), batch_size, seed, self.targets.device):
            yield self.features[rows], _one_hot(self.targets[rows], self.n_labels)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All clips with their targets (batch,), as they are."""
        for start in range(0, len(self), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            yield self.features[part], self.targets[part]


@dataclass(frozen=True)
class AugmentedWaveforms:
    """Waveforms (clips, samples) and targets (clips,) of the training part, on its device."""

    waveforms: Tensor
    targets: Tensor
    n_labels: int
    frontend: Frontend
    kind: FeatureKind
    recipe: Recipe
    rows: Tensor  # of an epoch: a clip that is to be read often is in it as often

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def shuffled(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.targets.device
        generator = torch.Generator(device).manual_seed(seed)
        config = self.frontend.config
        for picked in _shuffled_rows(len(self), batch_size, seed, device):
            rows = self.rows[picked]
            others = torch.randint(
                len(self.targets), rows.shape, generator=generator, device=device
            )
            x = augment_waveforms(
                self.waveforms[rows], self.waveforms[others], self.recipe, config.sample_rate_hz,
                generator,
            )  # fmt: skip
            targets = _one_hot(self.targets[rows], self.n_labels)
            x, targets = mixup(x, targets, self.recipe.p_mixup, generator)
            log_mel = augment_log_mel(
                self.frontend.log_mel(x),
                self.recipe,
                config.frames / config.clip_seconds,
                generator,
            )
            yield (self.frontend.mfcc(log_mel) if self.kind == "mfcc" else log_mel), targets


def stored_features(
    dataset: Dataset, kind: FeatureKind, split: str, device: torch.device
) -> StoredFeatures:
    """One split of a dataset.

    Raises:
        TrainingError: the split has no clip.
    """
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its {split} part")
    features = torch.from_numpy(np.ascontiguousarray(dataset.array(kind)[rows]))
    targets = torch.from_numpy(dataset.targets[rows])
    return StoredFeatures(features.to(device), targets.to(device), len(dataset.labels))


def augmented_waveforms(
    dataset: Dataset,
    extra: Dataset | None,
    kind: FeatureKind,
    recipe: Recipe,
    repeats: int,
    device: torch.device,
) -> AugmentedWaveforms:
    """The training clips of a dataset, ``repeats`` times an epoch, and every clip of ``extra``.

    Raises:
        TrainingError: there is no clip to train on, or ``extra`` has other labels or features.
    """
    rows = dataset.rows("train")
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its train part")
    waveforms = [np.ascontiguousarray(dataset.array("waveforms")[rows])]
    targets = [dataset.targets[rows]]
    if extra is not None:
        check_extra(dataset, extra)
        position = {label: i for i, label in enumerate(dataset.labels)}
        waveforms.append(np.ascontiguousarray(extra.array("waveforms")))
        targets.append(np.array([position[label] for label in extra.clips["label"]], np.int64))
    n_clips, n_all = len(rows), sum(map(len, targets))
    epoch = torch.cat([torch.arange(n_clips).repeat(repeats), torch.arange(n_clips, n_all)])
    return AugmentedWaveforms(
        torch.from_numpy(np.concatenate(waveforms)).to(device),
        torch.from_numpy(np.concatenate(targets)).to(device),
        len(dataset.labels),
        Frontend(dataset.features).to(device),
        kind,
        recipe,
        epoch.to(device),
    )


def check_extra(dataset: Dataset, extra: Dataset) -> None:
    """Clips to train on too must be prepared alike, have no other labels and not be tested on.

    Raises:
        TrainingError: they are not.
    """
    unknown = sorted(set(extra.labels) - set(dataset.labels))
    if unknown:
        raise TrainingError(
            f"{extra.folder} has the labels {', '.join(unknown)}, which {dataset.folder} lacks"
        )
    held_back = dataset.clips.loc[dataset.clips["split"] != "train", "sha256"]
    leaked = int(extra.clips["sha256"].isin(set(held_back)).sum())
    if leaked:
        raise TrainingError(
            f"{leaked} clips of {extra.folder} are in the test or validation part of "
            f"{dataset.folder}; they must not be trained on"
        )
    if extra.features != dataset.features:
        raise TrainingError(
            f"{extra.folder} has other features than {dataset.folder}; prepare both with the same "
            "flags (--sample-rate among them)"
        )


def _shuffled_rows(
    n_clips: int, batch_size: int, seed: int, device: torch.device
) -> Iterator[Tensor]:
    order = torch.randperm(n_clips, generator=torch.Generator().manual_seed(seed)).to(device)
    for start in range(0, n_clips, batch_size):
        yield order[start : start + batch_size]


def _one_hot(targets: Tensor, n_labels: int) -> Tensor:
    return functional.one_hot(targets, n_labels).float()
