"""Embeddings that need no labels: the speech encoder's, or those of an autoencoder trained here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from earful.data.atomic_write import staged_folder
from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import feature_shape
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.encoder import SPEECH, EncoderConfig, FrozenEncoder
from earful.training.baselines.encoder import pooled_vectors
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.explore.embeddings import Embedding, embed_with_run
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, METRICS_FILENAME, load_checkpoint

OnProgress = Callable[[int, int], None]  # done, total
# Enough to place similar clips together; half a minute for three thousand clips. Small datasets get
# more epochs, since an epoch of them is a few steps.
_MIN_EPOCHS, _MAX_EPOCHS = 8, 60
_TARGET_CLIPS_SEEN = 24_000
# More clips do not improve the autoencoder and cost time and memory.
MAX_TRAINING_CLIPS = 20_000
_VALIDATION_STRIDE = 10


def embed_with_encoder(dataset: Dataset, on_progress: OnProgress) -> Embedding:
    """Embed all clips with the frozen speech encoder, standardised; nothing is trained.

    Raises:
        FeatureError: the sample rate of the dataset is too low for the encoder.
    """
    n_values, frames = feature_shape(dataset.features, "encoder")
    network = FrozenEncoder(n_values, frames, len(dataset.labels), EncoderConfig()).eval()
    pooled = torch.from_numpy(np.array(pooled_vectors(dataset, network, "encoder", on_progress)))
    network.standardiser.fit(pooled)
    return Embedding("encoder", SPEECH, network.standardiser(pooled).numpy())


def train_autoencoder(
    dataset: Dataset, run_folder: Path, seed: int, device: TrainingDevice, on_progress: OnProgress
) -> Embedding:
    """Embed all clips with an autoencoder trained on them for a few epochs.

    The run in ``run_folder`` is reused while dataset and seed are unchanged.

    Raises:
        TrainingError: training fails.
        OutputError: ``run_folder`` holds something else or cannot be written.
    """
    epochs = _autoencoder_epochs(len(dataset.clips))
    config = replace(default_config("autoencoder"), epochs=epochs, patience=epochs, seed=seed)
    view = _training_view(dataset, seed)
    progress = TrainingProgress(on_epoch=lambda record: on_progress(record.epoch, epochs))
    if not _is_cached(run_folder, view, config):
        with staged_folder(run_folder, METRICS_FILENAME) as folder:
            train_run(view, folder, config, device=device, progress=progress)
    return embed_with_run(dataset, run_folder)


def _autoencoder_epochs(n_clips: int) -> int:
    """Number of epochs the autoencoder of a map is trained for."""
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, _TARGET_CLIPS_SEEN // max(1, n_clips)))


def _training_view(dataset: Dataset, seed: int) -> Dataset:
    """The dataset with a new split; test clips are included, since no labels are learnt."""
    order = np.random.default_rng(seed).permutation(len(dataset.clips))
    splits = np.full(len(order), "test", object)
    splits[order[:MAX_TRAINING_CLIPS]] = "train"
    splits[order[:MAX_TRAINING_CLIPS:_VALIDATION_STRIDE]] = "val"
    return dataset.split_again(splits.tolist(), "map", "map")


def _is_cached(run_folder: Path, view: Dataset, config: TrainConfig) -> bool:
    if not (run_folder / METRICS_FILENAME).is_file():
        return False
    try:
        cached = load_checkpoint(run_folder / BEST_CHECKPOINT)
    except TrainingError:  # damaged: trained again
        return False
    return cached.dataset_hash == view.content_hash and cached.config == config
