"""What an epoch reads: stored features, or waveforms that are augmented anew each time.

Both yield raw features (batch, bins, frames) and target distributions (batch, labels), computed on
the training device, in an order and with an augmentation that the seed decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data.augment import Recipe, augment_log_mel, augment_waveforms, mixup
from data.dataset import Dataset
from data.features import FeatureKind
from data.frontend import Frontend
from data.noise import draw_background
from training.company import Company
from training.config import TrainingError

EVALUATION_BATCH = 256
# New versions of each validation clip: enough that a few hundred clips calibrate steadily.
CALIBRATION_DRAWS = 4
# The target of a clip that has none of the labels: a word of another kind, or no word at all.
NO_LABEL = -1


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
    """Waveforms (clips, samples) and targets (clips,) of the training part, on its device.

    A target is an index of a label, or ``NO_LABEL``. The share ``noise_only`` of what is read is
    replaced by background alone.
    """

    waveforms: Tensor
    targets: Tensor
    n_labels: int
    frontend: Frontend
    kind: FeatureKind
    recipe: Recipe
    rows: Tensor  # of an epoch: a clip that is to be read often is in it as often
    noise_only: float = 0.0

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
            x, targets = self._some_without_words(x, targets, others, generator)
            log_mel = augment_log_mel(
                self.frontend.log_mel(x),
                self.recipe,
                config.frames / config.clip_seconds,
                generator,
            )
            yield (self.frontend.mfcc(log_mel) if self.kind == "mfcc" else log_mel), targets

    def _some_without_words(
        self, x: Tensor, targets: Tensor, others: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Outlier exposure (arXiv:1812.04606): background alone, whose target is no label."""
        if not self.noise_only:
            return x, targets
        drawn = torch.rand(len(x), generator=generator, device=x.device) < self.noise_only
        rows = drawn.nonzero().squeeze(1)
        if not len(rows):
            return x, targets
        background = draw_background(
            x[rows], self.waveforms[others], self.frontend.config.sample_rate_hz, generator
        )
        return x.index_copy(0, rows, background), targets.index_fill(0, rows, 1 / self.n_labels)


def stored_features(
    dataset: Dataset, kind: FeatureKind, split: str, device: torch.device
) -> StoredFeatures:
    """One split of a dataset.

    Raises:
        TrainingError: the split has no clip.
    """
    rows = _rows(dataset, split)
    features = torch.from_numpy(np.ascontiguousarray(dataset.array(kind)[rows]))
    targets = torch.from_numpy(dataset.targets[rows])
    return StoredFeatures(features.to(device), targets.to(device), len(dataset.labels))


def augmented_features(
    dataset: Dataset, kind: FeatureKind, split: str, recipe: Recipe, seed: int, device: torch.device
) -> StoredFeatures:
    """One split of a dataset, each clip ``CALIBRATION_DRAWS`` times as the recipe changes it.

    Raises:
        TrainingError: the split has no clip.
    """
    clips = augmented_waveforms(
        dataset, Company(), kind, recipe, device, repeats=CALIBRATION_DRAWS, split=split
    )
    batches = list(clips.shuffled(EVALUATION_BATCH, seed))
    features, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return StoredFeatures(features, targets.argmax(1), clips.n_labels)


def augmented_waveforms(
    dataset: Dataset,
    company: Company,
    kind: FeatureKind,
    recipe: Recipe,
    device: torch.device,
    *,
    repeats: int = 1,
    noise_only: float = 0.0,
    split: str = "train",
) -> AugmentedWaveforms:
    """The clips of one part of a dataset, ``repeats`` times an epoch, and its company once.

    Raises:
        TrainingError: there is no clip to train on, or the company does not fit the dataset.
    """
    rows = _rows(dataset, split)
    waveforms = [np.ascontiguousarray(dataset.array("waveforms")[rows])]
    targets = [dataset.targets[rows]]
    company.check(dataset)
    if company.extra is not None:
        extra = company.extra
        position = {label: i for i, label in enumerate(dataset.labels)}
        waveforms.append(np.ascontiguousarray(extra.array("waveforms")))
        targets.append(np.array([position[label] for label in extra.clips["label"]], np.int64))
    if company.others is not None:
        waveforms.append(np.ascontiguousarray(company.others.array("waveforms")))
        targets.append(np.full(len(company.others.clips), NO_LABEL))
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
        noise_only,
    )


def _rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Positions of the clips of a split, as often as an epoch reads them."""
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its {split} part")
    if dataset.times is None or split != "train":
        return rows
    return np.repeat(rows, dataset.times[rows])


def _shuffled_rows(
    n_clips: int, batch_size: int, seed: int, device: torch.device
) -> Iterator[Tensor]:
    order = torch.randperm(n_clips, generator=torch.Generator().manual_seed(seed)).to(device)
    for start in range(0, n_clips, batch_size):
        yield order[start : start + batch_size]


def _one_hot(targets: Tensor, n_labels: int) -> Tensor:
    """Distributions (batch, labels): all on the target, or even where there is none."""
    known = functional.one_hot(targets.clamp_min(0), n_labels).float()
    return torch.where((targets == NO_LABEL).unsqueeze(1), 1 / n_labels, known)
