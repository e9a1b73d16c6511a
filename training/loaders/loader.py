"""Batch loaders: stored features, or waveforms that are augmented anew each epoch.

Both yield raw features (clips, bins, frames) and targets (clips, labels) on the training device.
The seed determines order and augmentation (``training.loaders.sampler``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.augmentation.noise import synthetic_background
from earful.data.augmentation.pipeline import (
    AugmentConfig,
    augment_log_mel,
    augment_waveforms,
    mixup,
)
from earful.data.dataset.dataset import Dataset
from earful.data.features.extractor import FeatureExtractor
from earful.data.features.kinds import PREPARED_KINDS, FeatureKind
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.class_weights import sampling_weights
from earful.training.loaders.compute_ahead import compute_ahead
from earful.training.loaders.sampler import NO_LABEL, BatchPlan, BatchShard, EpochSampler, Targets
from earful.training.loaders.storage import (
    ClipArray,
    ClipSource,
    ComputedFeatures,
    InMemory,
    open_clips,
    read_sequentially,
)
from earful.training.loaders.teacher import Teacher

EVALUATION_BATCH = 256
_MAX_SEED = 2**62
# Augmented copies of each validation clip: enough for a stable validation loss and calibration on a
# few hundred clips. More clips than the maximum are subsampled.
AUGMENTED_COPIES, MAX_AUGMENTED_CLIPS = 4, 5_000


class BatchLoader(Protocol):
    """Training clips in batches."""

    @property
    def targets(self) -> Targets: ...

    @property
    def sampler(self) -> EpochSampler: ...

    def batch_shards(self, plan: BatchPlan) -> Iterator[BatchShard]:
        """This process's shards of all batches, in the order that the seed determines."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features (clips, bins, frames) of one split, without augmentation."""

    features: ClipArray
    targets: Targets
    sampler: EpochSampler

    def batch_shards(self, plan: BatchPlan) -> Iterator[BatchShard]:
        for shard, rows, share, is_last in self.sampler.shard_rows(plan):
            yield BatchShard(
                shard, self.features.gather(rows), self.targets.gather(rows), share, is_last
            )

    def sequential_batches(self, first: int = 0, step: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """All clips in order, as (features, targets); every ``step``-th batch from ``first``."""
        for rows in torch.split(self.sampler.rows, EVALUATION_BATCH)[first::step]:
            yield self.features.gather(rows), self.targets.gather(rows)


@dataclass(frozen=True)
class AugmentedWaveforms:
    """Waveforms (clips, samples), augmented anew each time they are read.

    The share ``noise_only`` of the clips is replaced by synthetic background. With a teacher, its
    answers for ``labels`` are most of the targets.
    """

    waveforms: ClipArray
    targets: Targets
    sampler: EpochSampler
    extractor: FeatureExtractor
    augment_config: AugmentConfig
    noise_only: float = 0.0
    teacher: Teacher | None = None
    labels: tuple[str, ...] = ()

    def batch_shards(self, plan: BatchPlan) -> Iterator[BatchShard]:
        device = self.targets.values.device
        # A seed a batch, so that threads can compute the next batches.
        seeds = {
            shard: torch.Generator().manual_seed(plan.shard_seed(shard))
            for shard in plan.own_shards
        }

        def task(shard: int, rows: Tensor, share: float, is_last: bool) -> Callable[[], BatchShard]:
            seed = int(torch.randint(_MAX_SEED, (), generator=seeds[shard]))
            generator = torch.Generator(device).manual_seed(seed)
            return lambda: BatchShard(shard, *self._augment(rows, generator), share, is_last)

        tasks = (task(*shard_rows) for shard_rows in self.sampler.shard_rows(plan))
        return compute_ahead(tasks) if device.type == "cpu" else (compute() for compute in tasks)

    @torch.no_grad()
    def _augment(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        config = self.extractor.config
        babble_rows = torch.randint(
            len(self.waveforms), rows.shape, generator=generator, device=generator.device
        )
        clean = self.waveforms.gather(rows)
        # Babble clips are read only where they may be mixed in.
        babble = (
            self.waveforms.gather(babble_rows)
            if self.augment_config.p_noise or self.noise_only
            else clean
        )
        x = augment_waveforms(clean, babble, self.augment_config, config.sample_rate_hz, generator)
        x, targets = mixup(x, self.targets.gather(rows), self.augment_config.p_mixup, generator)
        x, targets = self._replace_with_background(x, targets, babble, generator)
        if self.teacher is not None:
            targets = self.teacher.teach(x, targets, self.labels)
        spectrogram = self.extractor.spectrogram(x)
        if frames_per_second := self.extractor.frames_per_second:
            spectrogram = augment_log_mel(
                spectrogram, self.augment_config, frames_per_second, generator
            )
        return self.extractor.finish(spectrogram), targets

    def _replace_with_background(
        self, x: Tensor, targets: Tensor, babble: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Outlier exposure (arXiv:1812.04606): replace clips by background without a label."""
        if not self.noise_only:
            return x, targets
        drawn = torch.rand(len(x), generator=generator, device=x.device) < self.noise_only
        rows = drawn.nonzero().squeeze(1)
        if not len(rows):
            return x, targets
        background = synthetic_background(
            x[rows], babble, self.extractor.config.sample_rate_hz, generator
        )
        no_label_value = self.targets.no_label_value
        return x.index_copy(0, rows, background), targets.index_fill(0, rows, no_label_value)


def stored_features(
    dataset: Dataset,
    config: TrainConfig,
    split: str,
    device: torch.device,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
) -> StoredFeatures:
    """One split of a dataset without augmentation, followed by the auxiliary clips.

    Raises:
        TrainingError: the split has no clip, or the auxiliary data does not fit the dataset.
    """
    is_prepared = config.features in PREPARED_KINDS
    array = config.features if is_prepared else "waveforms"
    clips = open_clips(_sources(dataset, auxiliary, split, lambda part: part.array(array)), device)
    if not is_prepared:
        extractor = FeatureExtractor(dataset.features, config.features).to(device)
        clips = ComputedFeatures(clips, extractor)
    targets, sampler = build_targets_and_sampler(dataset, auxiliary, config, split, device)
    return StoredFeatures(clips, targets, sampler)


def stored_vectors(
    dataset: Dataset,
    config: TrainConfig,
    split: str,
    vectors_of: Callable[[Dataset], NDArray[np.float32]],
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
) -> StoredFeatures:
    """As ``stored_features`` on the CPU, with vectors (clips, size) in the place of features.

    ``vectors_of`` gives those of all clips of a dataset.

    Raises:
        TrainingError: the split has no clip, or the auxiliary data does not fit the dataset.
    """
    cpu = torch.device("cpu")
    targets, sampler = build_targets_and_sampler(dataset, auxiliary, config, split, cpu)
    clips = open_clips(_sources(dataset, auxiliary, split, vectors_of), cpu)
    return StoredFeatures(clips, targets, sampler)


def read_features(dataset: Dataset, kind: FeatureKind, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """Batches of the features (batch, bins, frames) of these clips on the CPU, in order."""
    if kind in PREPARED_KINDS:
        yield from read_sequentially(ClipSource(dataset.array(kind), rows), EVALUATION_BATCH)
        return
    extractor = FeatureExtractor(dataset.features, kind)
    for waveforms in read_sequentially(
        ClipSource(dataset.array("waveforms"), rows), EVALUATION_BATCH
    ):
        yield extractor(waveforms)


def augmented_features(
    dataset: Dataset, config: TrainConfig, split: str, device: torch.device
) -> StoredFeatures:
    """One split of a dataset, each clip in ``AUGMENTED_COPIES`` augmented versions.

    At most ``MAX_AUGMENTED_CLIPS`` clips, drawn at random.

    Raises:
        TrainingError: the split has no clip.
    """
    plain_config = replace(config, oversample=1, mixup=0.0, noise_only=0.0, balance="none")
    clips = augmented_waveforms(dataset, NO_AUXILIARY_DATA, plain_config, device, split)
    rows = clips.sampler.shuffled(config.seed)[:MAX_AUGMENTED_CLIPS].repeat(AUGMENTED_COPIES)
    plan = BatchPlan(EVALUATION_BATCH, config.seed)
    batches = list(replace(clips, sampler=EpochSampler(rows)).batch_shards(plan))
    targets = torch.cat([batch.targets for batch in batches]) > 0
    features = InMemory(torch.cat([batch.features for batch in batches]))
    clip_targets = targets if clips.targets.is_multi_label else targets.long().argmax(1)
    return StoredFeatures(
        features,
        replace(clips.targets, values=clip_targets),
        EpochSampler(torch.arange(len(features))),
    )


def augmented_waveforms(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    config: TrainConfig,
    device: torch.device,
    split: str = "train",
) -> AugmentedWaveforms:
    """One split of a dataset and its auxiliary data, augmented; oversampled as ``config`` says.

    Raises:
        TrainingError: the split has no clip, or the auxiliary data does not fit the dataset.
    """
    sources = _sources(dataset, auxiliary, split, lambda part: part.array("waveforms"))
    targets, sampler = build_targets_and_sampler(dataset, auxiliary, config, split, device)
    return AugmentedWaveforms(
        waveforms=open_clips(sources, device),
        targets=targets,
        sampler=sampler,
        extractor=FeatureExtractor(dataset.features, config.features).to(device),
        augment_config=config.augment_config(),
        noise_only=config.noise_only if auxiliary.negatives else 0.0,
        teacher=auxiliary.teacher,
        labels=dataset.labels,
    )


def build_targets_and_sampler(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    config: TrainConfig,
    split: str,
    device: torch.device,
) -> tuple[Targets, EpochSampler]:
    """The targets of the clips of a split and its auxiliary data, and the sampler of an epoch.

    Raises:
        TrainingError: the split has no clip, or the auxiliary data does not fit the dataset.
    """
    rows = _rows(dataset, split)
    targets_by_source = [_clip_targets(dataset, rows)]
    auxiliary.check(dataset)
    if auxiliary.extra is not None:
        targets_by_source.append(
            _clip_targets(auxiliary.extra, _all_rows(auxiliary.extra), dataset.labels)
        )
    if auxiliary.negatives is not None:
        targets_by_source.append(_negative_targets(dataset, len(auxiliary.negatives.clips)))
    n_clips, n_all = len(rows), sum(map(len, targets_by_source))
    oversample = config.oversample if split == "train" else 1
    read_rows = torch.cat([torch.arange(n_clips).repeat(oversample), torch.arange(n_clips, n_all)])
    targets = _build_targets(targets_by_source, dataset, config, device)
    return targets, _build_sampler(read_rows, targets, config, split)


def _sources(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    split: str,
    array_of: Callable[[Dataset], NDArray[Any]],
) -> list[ClipSource]:
    """The arrays and rows of a split, followed by those of the auxiliary data."""
    auxiliary_datasets = [
        part for part in (auxiliary.extra, auxiliary.negatives) if part is not None
    ]
    return [
        ClipSource(array_of(dataset), _rows(dataset, split)),
        *(ClipSource(array_of(part), _all_rows(part)) for part in auxiliary_datasets),
    ]


def _rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Rows of a split; training rows repeat by the dataset's ``oversample_counts``."""
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise TrainingError(
            f"the dataset {dataset.folder} has no clip in its {split} part; prepare it with "
            "another --split, or with more clips"
        )
    if dataset.oversample_counts is None or split != "train":
        return rows
    return np.repeat(rows, dataset.oversample_counts[rows])


def _all_rows(dataset: Dataset) -> NDArray[np.int64]:
    return np.arange(len(dataset.clips))


def _clip_targets(
    dataset: Dataset, rows: NDArray[np.int64], labels: tuple[str, ...] | None = None
) -> Tensor:
    """``Targets.values`` of the clips, by position in ``labels`` (default: the dataset's)."""
    position = {label: i for i, label in enumerate(labels or dataset.labels)}
    columns = np.array([position[label] for label in dataset.labels], np.int64)
    if not dataset.is_multi_label:
        return torch.from_numpy(columns[dataset.targets[rows]])
    label_matrix = torch.zeros(len(rows), len(position), dtype=torch.bool)
    label_matrix[:, columns] = torch.from_numpy(dataset.label_matrix[rows])
    return label_matrix


def _negative_targets(dataset: Dataset, n_clips: int) -> Tensor:
    if dataset.is_multi_label:
        return torch.zeros(n_clips, len(dataset.labels), dtype=torch.bool)
    return torch.full((n_clips,), NO_LABEL)


def _build_targets(
    targets_by_source: list[Tensor], dataset: Dataset, config: TrainConfig, device: torch.device
) -> Targets:
    if any(part.dim() == 2 for part in targets_by_source):  # one source is multi-label: all are
        targets_by_source = [
            part if part.dim() == 2 else _one_hot(part, len(dataset.labels))
            for part in targets_by_source
        ]
    n_labels = len(dataset.labels)
    no_label_value = 0.0 if config.loss == "bce" else 1 / n_labels
    return Targets(torch.cat(targets_by_source).to(device), n_labels, no_label_value)


def _one_hot(positions: Tensor, n_labels: int) -> Tensor:
    return torch.nn.functional.one_hot(positions, n_labels).bool()


def _build_sampler(rows: Tensor, targets: Targets, config: TrainConfig, split: str) -> EpochSampler:
    if config.balance != "sampling" or split != "train":
        return EpochSampler(rows)
    return EpochSampler(rows, sampling_weights(targets.values.cpu(), targets.n_labels)[rows])
