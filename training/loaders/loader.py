"""What an epoch reads: stored features, or waveforms that are augmented anew each time.

Both give raw features (clips, bins, frames) and targets (clips, labels), computed on the training
device, in an order and with an augmentation that the seed decides (``training.loaders.sampler``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.augmentation.noise import draw_background
from earful.data.augmentation.pipeline import Recipe, augment_log_mel, augment_waveforms, mixup
from earful.data.dataset.dataset import Dataset
from earful.data.features.config import FeatureKind
from earful.data.features.frontend import Frontend
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import ALONE, Company
from earful.training.loaders.class_weights import sampling_weights
from earful.training.loaders.sampler import NO_LABEL, Cut, Epoch, Part, Targets
from earful.training.loaders.storage import ClipArray, Resident, Source, open_clips

EVALUATION_BATCH = 256
# New versions of each validation clip: enough that a few hundred clips judge and calibrate
# steadily, and of no more clips than that takes.
VALIDATION_DRAWS, VALIDATION_CLIPS = 4, 5_000


class Batches(Protocol):
    """The training clips, as batches."""

    @property
    def targets(self) -> Targets: ...

    @property
    def epoch(self) -> Epoch: ...

    def parts(self, cut: Cut) -> Iterator[Part]:
        """My shards of all batches, in the order that the seed decides."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features (clips, bins, frames) of one part of a dataset."""

    features: ClipArray
    targets: Targets
    epoch: Epoch

    def parts(self, cut: Cut) -> Iterator[Part]:
        for shard, rows, share, is_last in self.epoch.shards(cut):
            yield Part(shard, self.features.take(rows), self.targets.of(rows), share, is_last)

    def in_order(self, first: int = 0, step: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """All clips as they are; of several processes, each takes every ``step``-th batch."""
        for rows in torch.split(self.epoch.rows, EVALUATION_BATCH)[first::step]:
            yield self.features.take(rows), self.targets.of(rows)


@dataclass(frozen=True)
class AugmentedWaveforms:
    """Waveforms (clips, samples), changed anew whenever they are read.

    The share ``noise_only`` of what is read is replaced by background alone.
    """

    waveforms: ClipArray
    targets: Targets
    epoch: Epoch
    frontend: Frontend
    kind: FeatureKind
    recipe: Recipe
    noise_only: float = 0.0

    @torch.no_grad()
    def parts(self, cut: Cut) -> Iterator[Part]:
        device = self.frontend.runs.device
        generators = {
            shard: torch.Generator(device).manual_seed(cut.shard_seed(shard)) for shard in cut.mine
        }
        for shard, rows, share, is_last in self.epoch.shards(cut):
            features, targets = self._augmented(rows, generators[shard])
            yield Part(shard, features, targets, share, is_last)

    def _augmented(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        config = self.frontend.config
        others = torch.randint(
            len(self.waveforms), rows.shape, generator=generator, device=generator.device
        )
        clean = self.waveforms.take(rows)
        # What is mixed in as babble is read where babble may be mixed in.
        voices = self.waveforms.take(others) if self.recipe.p_noise or self.noise_only else clean
        x = augment_waveforms(clean, voices, self.recipe, config.sample_rate_hz, generator)
        x, targets = mixup(x, self.targets.of(rows), self.recipe.p_mixup, generator)
        x, targets = self._some_without_words(x, targets, voices, generator)
        log_mel = augment_log_mel(
            self.frontend.log_mel(x), self.recipe, config.frames / config.clip_seconds, generator
        )
        return (self.frontend.mfcc(log_mel) if self.kind == "mfcc" else log_mel), targets

    def _some_without_words(
        self, x: Tensor, targets: Tensor, voices: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Outlier exposure (arXiv:1812.04606): background alone, whose target is no label."""
        if not self.noise_only:
            return x, targets
        drawn = torch.rand(len(x), generator=generator, device=x.device) < self.noise_only
        rows = drawn.nonzero().squeeze(1)
        if not len(rows):
            return x, targets
        background = draw_background(
            x[rows], voices, self.frontend.config.sample_rate_hz, generator
        )
        nothing = self.targets.nothing
        return x.index_copy(0, rows, background), targets.index_fill(0, rows, nothing)


def stored_features(
    dataset: Dataset,
    config: TrainConfig,
    split: str,
    device: torch.device,
    company: Company = ALONE,
) -> StoredFeatures:
    """One split of a dataset as ``prepare`` left it, its company beside it.

    Raises:
        TrainingError: the split has no clip, or the company does not fit the dataset.
    """
    sources = _sources(dataset, company, config.features, split)
    targets, epoch = targets_and_epoch(dataset, company, config, split, device)
    return StoredFeatures(open_clips(sources, device), targets, epoch)


def augmented_features(
    dataset: Dataset, config: TrainConfig, split: str, device: torch.device
) -> StoredFeatures:
    """One split of a dataset, each clip ``VALIDATION_DRAWS`` times as the recipe changes it.

    Of more than ``VALIDATION_CLIPS`` clips, so many that are drawn.

    Raises:
        TrainingError: the split has no clip.
    """
    alone = replace(config, repeats=1, mixup=0.0, noise_only=0.0, balance="none")
    clips = augmented_waveforms(dataset, ALONE, alone, device, split)
    some = clips.epoch.shuffled(config.seed)[:VALIDATION_CLIPS].repeat(VALIDATION_DRAWS)
    cut = Cut(EVALUATION_BATCH, config.seed)
    drawn = list(replace(clips, epoch=Epoch(some)).parts(cut))
    targets = torch.cat([part.targets for part in drawn]) > 0
    features = Resident(torch.cat([part.features for part in drawn]))
    held = targets if clips.targets.several else targets.long().argmax(1)
    return StoredFeatures(
        features, replace(clips.targets, values=held), Epoch(torch.arange(len(features)))
    )


def augmented_waveforms(
    dataset: Dataset,
    company: Company,
    config: TrainConfig,
    device: torch.device,
    split: str = "train",
) -> AugmentedWaveforms:
    """The clips of one part of a dataset, ``config.repeats`` times an epoch, its company once.

    Raises:
        TrainingError: there is no clip to train on, or the company does not fit the dataset.
    """
    sources = _sources(dataset, company, "waveforms", split)
    targets, epoch = targets_and_epoch(dataset, company, config, split, device)
    return AugmentedWaveforms(
        open_clips(sources, device), targets, epoch, Frontend(dataset.features).to(device),
        config.features, config.recipe(), config.noise_only if company.others else 0.0,
    )  # fmt: skip


def targets_and_epoch(
    dataset: Dataset, company: Company, config: TrainConfig, split: str, device: torch.device
) -> tuple[Targets, Epoch]:
    """What the clips of ``_sources`` hold, and how an epoch reads them.

    Raises:
        TrainingError: the split has no clip, or the company does not fit the dataset.
    """
    rows = _rows(dataset, split)
    held = [_held(dataset, rows)]
    company.check(dataset)
    if company.extra is not None:
        held.append(_held(company.extra, _all_rows(company.extra), dataset.labels))
    if company.others is not None:
        held.append(_held_by_none(dataset, len(company.others.clips)))
    n_clips, n_all = len(rows), sum(map(len, held))
    repeats = config.repeats if split == "train" else 1
    read = torch.cat([torch.arange(n_clips).repeat(repeats), torch.arange(n_clips, n_all)])
    targets = _targets(held, dataset, config, device)
    return targets, _epoch(read, targets, config, split)


def _sources(dataset: Dataset, company: Company, array: str, split: str) -> list[Source]:
    """Where the clips of a split are, and after them those of the company."""
    besides = [part for part in (company.extra, company.others) if part is not None]
    return [
        Source(dataset.array(array), _rows(dataset, split)),
        *(Source(part.array(array), _all_rows(part)) for part in besides),
    ]


def _rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Positions of the clips of a split, as often as an epoch reads them."""
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its {split} part")
    if dataset.times is None or split != "train":
        return rows
    return np.repeat(rows, dataset.times[rows])


def _all_rows(dataset: Dataset) -> NDArray[np.int64]:
    return np.arange(len(dataset.clips))


def _held(
    dataset: Dataset, rows: NDArray[np.int64], labels: tuple[str, ...] | None = None
) -> Tensor:
    """What clips hold, as ``Targets`` has it, among ``labels``: the dataset's own without them."""
    position = {label: i for i, label in enumerate(labels or dataset.labels)}
    columns = np.array([position[label] for label in dataset.labels], np.int64)
    if not dataset.multi_label:
        return torch.from_numpy(columns[dataset.targets[rows]])
    found = torch.zeros(len(rows), len(position), dtype=torch.bool)
    found[:, columns] = torch.from_numpy(dataset.memberships[rows])
    return found


def _held_by_none(dataset: Dataset, n_clips: int) -> Tensor:
    if dataset.multi_label:
        return torch.zeros(n_clips, len(dataset.labels), dtype=torch.bool)
    return torch.full((n_clips,), NO_LABEL)


def _targets(
    held: list[Tensor], dataset: Dataset, config: TrainConfig, device: torch.device
) -> Targets:
    if any(part.dim() == 2 for part in held):  # of a single label, then a row of one
        held = [part if part.dim() == 2 else _as_rows(part, len(dataset.labels)) for part in held]
    n_labels = len(dataset.labels)
    nothing = 0.0 if config.loss == "bce" else 1 / n_labels
    return Targets(torch.cat(held).to(device), n_labels, nothing)


def _as_rows(positions: Tensor, n_labels: int) -> Tensor:
    return torch.nn.functional.one_hot(positions, n_labels).bool()


def _epoch(rows: Tensor, targets: Targets, config: TrainConfig, split: str) -> Epoch:
    if config.balance != "sampling" or split != "train":
        return Epoch(rows)
    return Epoch(rows, sampling_weights(targets.values.cpu(), targets.n_labels)[rows])
