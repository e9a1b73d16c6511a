"""What a baseline is fitted to: the training clips, read from the memory map part by part."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.dataset import Dataset
from data.features import FeatureKind
from models.fitted import PooledBaseline
from models.pipeline import NormalisedNetwork
from models.pooling import pooled
from training.company import Company
from training.config import TrainingError

_BATCH = 256


@dataclass(frozen=True)
class Source:
    """Clips of one dataset: rows (clips,) of its features, and their labels (clips,)."""

    features: NDArray[np.float32]
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]

    def parts(self) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Raw features (batch, bins, frames) with their labels (batch,), in order."""
        for start in range(0, len(self.rows), _BATCH):
            part = slice(start, start + _BATCH)
            batch = np.ascontiguousarray(self.features[self.rows[part]])
            yield torch.from_numpy(batch), self.targets[part]


@dataclass(frozen=True)
class Clips:
    """Clips of several datasets, one after the other."""

    sources: tuple[Source, ...]
    n_labels: int

    @property
    def targets(self) -> NDArray[np.int64]:
        return np.concatenate([source.targets for source in self.sources])

    def parts(self) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Raw features (batch, bins, frames) with their labels (batch,), in order."""
        for source in self.sources:
            yield from source.parts()

    def only(self, label: int, most: int, generator: np.random.Generator) -> "Clips":
        """The clips of one label, ``most`` of them drawn where there are more."""
        places = np.flatnonzero(self.targets == label)
        if len(places) > most:
            places = generator.choice(places, most, replace=False)
        kept = np.zeros(len(self.targets), bool)
        kept[places] = True
        sources, start = [], 0
        for source in self.sources:
            here = kept[start : start + len(source.rows)]
            sources.append(Source(source.features, source.rows[here], source.targets[here]))
            start += len(source.rows)
        return Clips(tuple(sources), self.n_labels)


def training_clips(dataset: Dataset, company: Company, kind: FeatureKind) -> Clips:
    """The training part of a dataset and the extra clips beside it, as often as they are read.

    Raises:
        TrainingError: there is none, or none of some label, or there are clips without a label.
    """
    company.check(dataset)
    if company.others is not None:
        raise TrainingError(
            f"{company.others.folder} has clips of no label, which only networks that are trained "
            "by steps learn from; leave --others away, or take another --model"
        )
    rows = dataset.rows("train")
    if dataset.times is not None:
        rows = np.repeat(rows, dataset.times[rows])
    sources = [Source(dataset.array(kind), rows, dataset.targets[rows])]
    if company.extra is not None:
        extra = company.extra
        position = {label: i for i, label in enumerate(dataset.labels)}
        targets = np.array([position[label] for label in extra.clips["label"]], np.int64)
        sources.append(Source(extra.array(kind), np.arange(len(targets)), targets))
    clips = Clips(tuple(sources), len(dataset.labels))
    _check(dataset, clips)
    return clips


def validation_clips(dataset: Dataset, kind: FeatureKind) -> Clips:
    """The validation part of a dataset.

    Raises:
        TrainingError: it has no clip.
    """
    rows = dataset.rows("val")
    if len(rows) == 0:
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its val part")
    return Clips((Source(dataset.array(kind), rows, dataset.targets[rows]),), len(dataset.labels))


def feature_statistics(clips: Clips) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bins,) over all clips and frames."""
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for features, _ in clips.parts():
        part = features.double()
        total, squares = total + part.sum((0, 2)), squares + part.square().sum((0, 2))
        count += part.shape[0] * part.shape[2]
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()


def embeddings(model: NormalisedNetwork, network: PooledBaseline, clips: Clips) -> Tensor:
    """Fit the standardisation of pooled features, and return them (clips, size)."""
    values = torch.cat([pooled(model.normalise(x)) for x, _ in clips.parts()])
    network.standardise.fit(values)
    standardised: Tensor = network.standardise(values)
    return standardised


def _check(dataset: Dataset, clips: Clips) -> None:
    counts = np.bincount(clips.targets, minlength=clips.n_labels)
    if not counts.any():
        raise TrainingError(f"the dataset {dataset.folder} has no clip in its train part")
    missing = [dataset.labels[i] for i in np.flatnonzero(counts == 0)]
    if missing:
        raise TrainingError(
            f"the train part of {dataset.folder} has no clip of {', '.join(missing)}; a baseline "
            "is fitted to clips of every label: prepare with another --split, or more clips"
        )
