"""Embeddings of all clips of a dataset, those of a released model or of a run.

Clips are read in batches from memory maps; only the embeddings are held in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.data.features.config import FeatureConfig
from earful.models.bundle.metadata import ModelError
from earful.models.networks.zoo import zoo_entry
from earful.service.classifier import Classifier, fill_batches
from earful.training.config.train_config import TrainingError
from earful.training.explore.neighbours import unit_length, whitened
from earful.training.loaders.loader import read_features
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    Checkpoint,
    load_checkpoint,
    rebuild_network,
)

EmbeddingKind = Literal["encoder", "autoencoder", "classifier"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class ClassifierPredictions:
    """A classifier's predicted label and score for each clip."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    known_labels: frozenset[str]

    def correct(self, labels: list[str]) -> list[bool | None]:
        """Whether each prediction is correct; None where the model lacks the clip's label."""
        return [
            predicted == label if label in self.known_labels else None
            for predicted, label in zip(self.labels, labels, strict=True)
        ]


@dataclass(frozen=True)
class Embedding:
    """Vectors (clips, dim) of all clips; ``source`` is the model file, run or encoder."""

    kind: EmbeddingKind
    source: str
    vectors: Vectors
    predictions: ClassifierPredictions | None = None

    @property
    def comparable(self) -> Vectors:
        """Vectors (clips, dim) to compare by Euclidean distance."""
        match self.kind:
            case "encoder":
                return unit_length(self.vectors)
            case "autoencoder":
                return whitened(self.vectors)
            case "classifier":
                return self.vectors


def embed_with_model(dataset: Dataset, model: Path) -> Embedding:
    """Embed all clips with a released model.

    Raises:
        ModelError: the file is missing or damaged, or does not fit the dataset (``check_model``).
    """
    classifier = Classifier.open(model)
    check_model(dataset, classifier)
    rows = range(len(dataset.clips))
    clips = ((row, [(dataset.waveforms(slice(row, row + 1))[0], 0)]) for row in rows)
    embedded = fill_batches(clips, lambda cuts: zip(*classifier.embed_windows(cuts), strict=True))
    probabilities, vectors = map(np.stack, zip(*(pair for _, [pair] in embedded), strict=True))
    predictions = _classifier_predictions(probabilities, classifier.labels)
    return Embedding("classifier", model.name, _require_finite(vectors, str(model)), predictions)


def check_model(dataset: Dataset, classifier: Classifier) -> None:
    """Check that a model can classify the clips of a dataset.

    Raises:
        ModelError: different sample rate or clip length, no label in common, or a multi-label
            model.
    """
    path = classifier.bundle.path
    rate_hz, seconds = _input_format(classifier.metadata.features)
    dataset_rate_hz, dataset_seconds = _input_format(dataset.features)
    if (rate_hz, seconds) != (dataset_rate_hz, dataset_seconds):
        raise ModelError(
            f"{path} takes clips of {seconds:g} s at {rate_hz} Hz, those of {dataset.folder} are "
            f"{dataset_seconds:g} s at {dataset_rate_hz} Hz; prepare them with --sample-rate "
            f"{rate_hz} --clip-seconds {seconds:g}, or give another --model"
        )
    if classifier.is_multi_label:
        raise ModelError(
            f"{path} is a multi-label model, and a map shows predictions of one label per clip; "
            "give another --model"
        )
    if not set(classifier.labels) & set(dataset.labels):
        raise ModelError(
            f"{path} has none of the labels of {dataset.folder}: it has "
            f"{_abbreviate_labels(classifier.labels)}, the dataset has "
            f"{_abbreviate_labels(dataset.labels)}; give another --model"
        )


def _input_format(features: FeatureConfig) -> tuple[int, float]:
    """Sample rate in Hz and clip length in seconds."""
    return features.sample_rate_hz, features.clip_samples / features.sample_rate_hz


def embed_with_run(dataset: Dataset, run: Path) -> Embedding:
    """Embed all clips with the best epoch of a run.

    Raises:
        TrainingError: no usable run, or it does not fit the dataset (``check_run``).
        ModelError: its embeddings are not finite.
    """
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    check_run(dataset, run, checkpoint)
    kind = embedding_kind(checkpoint)
    model = rebuild_network(checkpoint)
    every_clip = np.arange(len(dataset.clips))
    outputs, vectors_by_batch = [], []
    with torch.inference_mode():
        for features in read_features(dataset, checkpoint.config.features, every_clip):
            embedding = model.network.embed(model.normalise(features))
            vectors_by_batch.append(embedding.numpy())
            if kind == "classifier":
                outputs.append(torch.softmax(model.network.head(embedding), dim=1).numpy())
    vectors = _require_finite(np.concatenate(vectors_by_batch), str(run))
    if kind == "autoencoder":
        return Embedding(kind, str(run), vectors)
    return Embedding(
        kind, str(run), vectors, _classifier_predictions(np.concatenate(outputs), checkpoint.labels)
    )


def embedding_kind(checkpoint: Checkpoint) -> EmbeddingKind:
    """Whether a run is an autoencoder or a classifier."""
    task = zoo_entry(checkpoint.config.model).task
    return "autoencoder" if task == "reconstruction" else "classifier"


def check_run(dataset: Dataset, run: Path, checkpoint: Checkpoint) -> None:
    """Check that a run fits a dataset.

    Raises:
        TrainingError: different FeatureConfig, or a classifier without a label in common or with
            multi-label output.
    """
    if checkpoint.features != dataset.features:
        raise TrainingError(
            f"{run} was trained on other features than those of {dataset.folder} (sample rate, "
            "clip length or spectrogram); give a run of this dataset, or remove --run"
        )
    if embedding_kind(checkpoint) == "autoencoder":
        return
    if checkpoint.score_kind == "sigmoid":
        raise TrainingError(
            f"{run} is a multi-label run (--loss bce), and a map shows predictions of one label "
            "per clip; give another --run"
        )
    if not set(checkpoint.labels) & set(dataset.labels):
        raise TrainingError(
            f"{run} has none of the labels of {dataset.folder}: it has "
            f"{_abbreviate_labels(checkpoint.labels)}, the dataset has "
            f"{_abbreviate_labels(dataset.labels)}; give another --run"
        )


def _classifier_predictions(
    probabilities: NDArray[np.float32], labels: tuple[str, ...]
) -> ClassifierPredictions:
    best = probabilities.argmax(axis=1)
    return ClassifierPredictions(
        labels=tuple(labels[i] for i in best),
        scores=probabilities.max(axis=1),
        known_labels=frozenset(labels),
    )


def _require_finite(vectors: Vectors, source: str) -> Vectors:
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"{source} gives embeddings that are not finite; give another model or run"
        )
    return vectors


def _abbreviate_labels(labels: tuple[str, ...]) -> str:
    listed = ", ".join(labels[:10])
    return listed if len(labels) <= 10 else f"{listed} and {len(labels) - 10} more"
