"""An embedding for every clip of a dataset: of a released model, of a run, or learnt on the spot.

Read in batches from the dataset's memory maps, so that only the embeddings themselves are held.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.atomic_write import staged_folder
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelError
from earful.models.networks.zoo import zoo_entry
from earful.service.classifier import MAX_BATCH, Classifier
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.explore.neighbours import whitened
from earful.training.loaders.loader import EVALUATION_BATCH
from earful.training.loaders.storage import ClipSource, read_sequentially
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    METRICS_FILENAME,
    Checkpoint,
    load_checkpoint,
    rebuild_network,
)

Kind = Literal["autoencoder", "classifier"]
# Enough to put clips that sound alike side by side, in half a minute for three thousand; few clips
# are seen more often, since an epoch of them is a few steps.
_LEAST_EPOCHS, _MOST_EPOCHS = 8, 60
_CLIPS_TO_SEE = 24_000
# Of a larger dataset, more clips teach an autoencoder nothing new and cost time and memory.
MOST_LEARNT_FROM = 20_000
_VALIDATION_STEP = 10

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """What a classifier says of each clip: its label and the score of that."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    known: frozenset[str]

    def right(self, labels: list[str]) -> list[bool | None]:
        """Whether each answer is the clip's label; None where the model has no such label."""
        return [
            answer == label if label in self.known else None
            for answer, label in zip(self.labels, labels, strict=True)
        ]


@dataclass(frozen=True)
class Embedding:
    """Vectors (clips, dim) of all clips; ``source`` is the file or run that made them."""

    kind: Kind
    source: str
    vectors: Vectors
    answers: Answers | None = None

    @property
    def comparable(self) -> Vectors:
        """Vectors (clips, dim) whose Euclidean distances tell how alike clips sound."""
        return whitened(self.vectors) if self.kind == "autoencoder" else self.vectors


def of_model(dataset: Dataset, model: Path) -> Embedding:
    """What a released model makes of each clip.

    Raises:
        ModelError: the file is missing or damaged, hears other clips than these, or knows none of
            their labels.
    """
    classifier = Classifier.open(model)
    check_model(dataset, classifier)
    found = [
        classifier.embed(dataset.waveforms(slice(start, start + MAX_BATCH)))
        for start in range(0, len(dataset.clips), MAX_BATCH)
    ]
    probabilities, vectors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    answers = _answers(probabilities, classifier.labels)
    return Embedding("classifier", model.name, _finite(vectors, str(model)), answers)


def check_model(dataset: Dataset, classifier: Classifier) -> None:
    """Refuse a model that cannot be asked about these clips.

    Raises:
        ModelError: another sample rate or length of clips, no label in common, or several labels
            at once.
    """
    path, features, own = classifier.bundle.path, classifier.metadata.features, dataset.features
    heard, there = (
        (f.sample_rate_hz, f.clip_samples / f.sample_rate_hz) for f in (features, own)
    )  # fmt: skip
    if heard != there:
        raise ModelError(
            f"{path} hears {heard[1]:g} s at {heard[0]} Hz and the clips of {dataset.folder} are "
            f"{there[1]:g} s at {there[0]} Hz; prepare them with --sample-rate {heard[0]} "
            f"--clip-seconds {heard[1]:g}, or give another --model"
        )
    if classifier.is_multi_label:
        raise ModelError(
            f"{path} says several labels at once, and a map shows right and wrong answers of one "
            "label; give another --model"
        )
    if not set(classifier.labels) & set(dataset.labels):
        raise ModelError(
            f"{path} knows none of the labels of {dataset.folder}: it has "
            f"{_some(classifier.labels)}, they are {_some(dataset.labels)}; give another --model"
        )


def of_run(dataset: Dataset, run: Path) -> Embedding:
    """What the best epoch of a run makes of each clip.

    Raises:
        TrainingError: no usable run, or one of other features or labels.
        ModelError: its embeddings are no finite numbers.
    """
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    check_run(dataset, run, checkpoint)
    kind = kind_of(checkpoint)
    try:
        model = rebuild_network(checkpoint)
    except RuntimeError as error:  # weights of other shapes
        raise TrainingError(f"the checkpoint {run / BEST_CHECKPOINT} is damaged; train again") from error
    every_clip = np.arange(len(dataset.clips))
    clips = ClipSource(dataset.array(checkpoint.config.features), every_clip)
    outputs, found = [], []
    with torch.inference_mode():
        for features in read_sequentially(clips, EVALUATION_BATCH):
            embedding = model.network.embed(model.normalise(features))
            found.append(embedding.numpy())
            if kind == "classifier":
                outputs.append(torch.softmax(model.network.head(embedding), dim=1).numpy())
    vectors = _finite(np.concatenate(found), str(run))
    if kind == "autoencoder":
        return Embedding(kind, str(run), vectors)
    return Embedding(kind, str(run), vectors, _answers(np.concatenate(outputs), checkpoint.labels))


def kind_of(checkpoint: Checkpoint) -> Kind:
    """Which of the two embeddings a run gives."""
    task = zoo_entry(checkpoint.config.model).task
    return "autoencoder" if task == "reconstruction" else "classifier"


def check_run(dataset: Dataset, run: Path, checkpoint: Checkpoint) -> None:
    """Refuse a run that has learnt other clips.

    Raises:
        TrainingError: another FeatureConfig, or a classifier without a label in common or with
            several at once.
    """
    if checkpoint.features != dataset.features:
        raise TrainingError(
            f"{run} was trained on other features than those of {dataset.folder} (sample rate, "
            "length of clips or spectrogram); give a run of this dataset, or leave out --run"
        )
    if kind_of(checkpoint) == "classifier" and checkpoint.score_kind == "sigmoid":
        raise TrainingError(
            f"{run} learnt to say several labels at once (--loss bce), and a map shows right and "
            "wrong answers of one label; give another --run"
        )
    if kind_of(checkpoint) == "classifier" and not set(checkpoint.labels) & set(dataset.labels):
        raise TrainingError(
            f"{run} knows none of the labels of {dataset.folder}: it has "
            f"{_some(checkpoint.labels)}, they are {_some(dataset.labels)}; give another --run"
        )


def on_the_spot(
    dataset: Dataset, place: Path, seed: int, device: Device, progress: TrainingProgress
) -> Embedding:
    """What an autoencoder makes of each clip that was trained on them for a few epochs.

    The run is kept at ``place`` and taken again while the dataset and the seed are the same.

    Raises:
        TrainingError: it cannot be trained.
        OutputError: ``place`` is taken by something else or cannot be written.
    """
    epochs = epochs_on_the_spot(len(dataset.clips))
    config = replace(default_config("autoencoder"), epochs=epochs, patience=epochs, seed=seed)
    view = _to_learn_from(dataset, seed)
    if not _is_kept(place, view, config):
        with staged_folder(place, METRICS_FILENAME) as folder:
            train_run(view, folder, config, device=device, progress=progress)
    return of_run(dataset, place)


def epochs_on_the_spot(n_clips: int) -> int:
    """How many epochs an autoencoder is trained for when a map is drawn."""
    return min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _CLIPS_TO_SEE // max(1, n_clips)))


def _to_learn_from(dataset: Dataset, seed: int) -> Dataset:
    """The dataset with a split of its own: no label is learnt, so that no clip is held back."""
    order = np.random.default_rng(seed).permutation(len(dataset.clips))
    splits = np.full(len(order), "test", object)
    splits[order[:MOST_LEARNT_FROM]] = "train"
    splits[order[:MOST_LEARNT_FROM:_VALIDATION_STEP]] = "val"
    digest = hashlib.sha256(",".join(splits).encode()).hexdigest()[:12]
    return replace(
        dataset, clips=dataset.clips.assign(split=splits), split_mode="map",
        content_hash=f"{dataset.content_hash}/map:{digest}",
    )  # fmt: skip


def _is_kept(place: Path, view: Dataset, config: TrainConfig) -> bool:
    if not (place / METRICS_FILENAME).is_file():
        return False
    try:
        kept = load_checkpoint(place / BEST_CHECKPOINT)
    except TrainingError:  # it is trained again
        return False
    return kept.dataset_hash == view.content_hash and kept.config == config


def _answers(probabilities: NDArray[np.float32], labels: tuple[str, ...]) -> Answers:
    best = probabilities.argmax(axis=1)
    return Answers(
        tuple(labels[i] for i in best), probabilities.max(axis=1), frozenset(labels)
    )  # fmt: skip


def _finite(vectors: Vectors, source: str) -> Vectors:
    if not np.isfinite(vectors).all():
        raise ModelError(f"{source} gives embeddings that are no finite numbers; give another")
    return vectors


def _some(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:10])
    return shown if len(labels) <= 10 else f"{shown} and {len(labels) - 10} more"
