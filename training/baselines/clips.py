"""What a baseline is fitted to: stored features of the training clips, each with one label."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.dataset import Dataset
from models.fitted import PooledBaseline
from models.pipeline import NormalisedNetwork
from models.pooling import pooled
from training.batches import Epoch, StoredFeatures, Targets
from training.clip_arrays import Source, open_clips
from training.company import Company
from training.config import TrainConfig

# Where a baseline is fitted.
CPU = torch.device("cpu")

Labels = NDArray[np.int64]


def training_labels(dataset: Dataset, company: Company) -> Labels:
    """The position of each training clip's label (clips,), as often as it is read; extra ones last.

    Raises:
        DatasetError: there are clips with several.
    """
    labels = dataset.targets[_training_rows(dataset)]
    if company.extra is None:
        return labels
    position = {label: i for i, label in enumerate(dataset.labels)}
    of_extra = np.array([position[label] for label in company.extra.labels], np.int64)
    return np.concatenate([labels, of_extra[company.extra.targets]])


def training_clips(dataset: Dataset, company: Company, config: TrainConfig) -> StoredFeatures:
    """The training part of a dataset and the extra clips beside it, as often as they are read.

    Raises:
        DatasetError: there are clips with several labels.
    """
    labels = training_labels(dataset, company)
    sources = [Source(dataset.array(config.features), _training_rows(dataset))]
    if company.extra is not None:
        every_clip = np.arange(len(company.extra.clips))
        sources.append(Source(company.extra.array(config.features), every_clip))
    targets = Targets(torch.from_numpy(labels), len(dataset.labels), nothing=0.0)
    return StoredFeatures(open_clips(sources, CPU), targets, Epoch(torch.arange(len(labels))))


def only(
    clips: StoredFeatures, label: int, most: int, generator: np.random.Generator
) -> StoredFeatures:
    """The clips of one label, ``most`` of them drawn where there are more."""
    places = np.flatnonzero(labels_of(clips) == label)
    if len(places) > most:
        places = np.sort(generator.choice(places, most, replace=False))
    return replace(clips, epoch=Epoch(clips.epoch.rows[torch.from_numpy(places)]))


def labels_of(clips: StoredFeatures) -> Labels:
    """The position of each clip's label (clips,), in their order."""
    found: Labels = clips.targets.values[clips.epoch.rows].numpy()
    return found


def embeddings(model: NormalisedNetwork, network: PooledBaseline, clips: StoredFeatures) -> Tensor:
    """Fit the standardisation of pooled features, and return them (clips, size)."""
    standardise = network.standardise
    found = torch.empty(len(clips.epoch), len(standardise.mean))
    start = 0
    for features, _ in clips.in_order():
        found[start : start + len(features)] = pooled(model.normalise(features))
        start += len(features)
    standardise.fit(found)
    # In place: of many clips, a second array is gigabytes.
    return found.sub_(standardise.mean).div_(standardise.deviation)


def _training_rows(dataset: Dataset) -> NDArray[np.int64]:
    rows = dataset.rows("train")
    return rows if dataset.times is None else np.repeat(rows, dataset.times[rows])
