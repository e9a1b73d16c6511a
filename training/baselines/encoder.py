"""``encoder``: a linear head on the pooled vectors of a frozen encoder.

The vectors of all clips are computed once per dataset and kept in its folder; a fit then takes a
second or two, whatever the network costs.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.atomic_write import OutputError, staged_file
from earful.data.dataset.dataset import Dataset
from earful.data.features.kinds import FeatureKind
from earful.models.layers.onnx_encoder import OnnxEncoder
from earful.models.layers.speech_encoder import WEIGHTS
from earful.models.networks.encoder import FrozenEncoder
from earful.training.config.train_config import Loss, TrainingError
from earful.training.loaders.loader import StoredFeatures, read_features
from earful.training.trainer.losses import comparison_loss

OnProgress = Callable[[int, int], None]  # clips done, clips in total
# Larger batches do not fit into a CPU's cache.
_BATCH = 64
_MAX_ITERATIONS = 500


def check_encoder_rate(network: FrozenEncoder, dataset: Dataset) -> None:
    """Check that an encoder file takes the sample rate of the dataset.

    Raises:
        TrainingError: it takes another.
    """
    encoder, rate_hz = network.encoder, dataset.features.sample_rate_hz
    if isinstance(encoder, OnnxEncoder) and encoder.rate_hz != rate_hz:
        raise TrainingError(
            f"{encoder.path} takes {encoder.rate_hz} Hz, {dataset.folder} has {rate_hz} Hz; "
            f"prepare with --sample-rate {encoder.rate_hz}, or, if the file takes {rate_hz} Hz, "
            f"write that as sample_rate into its metadata"
        )


def pooled_vectors(
    dataset: Dataset, network: FrozenEncoder, kind: FeatureKind, on_progress: OnProgress
) -> NDArray[np.float32]:
    """The pooled vectors (clips, size) of all clips of a dataset, from its cache if it has one.

    Raises:
        TrainingError: the encoder gives vectors that are not finite.
    """
    shape = (len(dataset.clips), len(network.standardiser.mean))
    cache = dataset.folder / f"encoder-{_encoder_hash(network)}.npy"
    cached = _read_cache(cache, shape)
    if cached is not None:
        return cached
    vectors = np.empty(shape, np.float32)
    done = 0
    with torch.inference_mode():
        for features in read_features(dataset, kind, np.arange(shape[0])):
            for batch in torch.split(features, _BATCH):
                vectors[done : done + len(batch)] = network.pool(batch).numpy()
                done += len(batch)
                on_progress(done, shape[0])
    if not np.isfinite(vectors).all():
        raise TrainingError(
            f"the encoder gives vectors that are not finite for clips of {dataset.folder}; give "
            "another --encoder"
        )
    try:
        with staged_file(cache) as staging, staging.open("wb") as file:
            np.save(file, vectors)
    except OutputError:  # a dataset that cannot be written to is computed each time
        pass
    return vectors


def fit_encoder_head(network: FrozenEncoder, clips: StoredFeatures, c: float, loss: Loss) -> None:
    """Fit standardiser and head to pooled vectors (clips, size) and their soft targets.

    The head minimises ``c`` times the summed cross-entropy (binary with ``bce``) plus half the sum
    of squared weights: scikit-learn's ``LogisticRegression``, but for targets that are a
    distribution, as negatives need.
    """
    vectors = clips.features.gather(clips.sampler.rows)
    targets = clips.targets.gather(clips.sampler.rows)
    network.standardiser.fit(vectors)
    x = network.standardiser(vectors)
    weight, bias = minimise_head_loss(x, targets, c, loss)
    network.head.set_fitted_buffers(weight=weight, bias=bias)


def minimise_head_loss(x: Tensor, targets: Tensor, c: float, loss: Loss) -> tuple[Tensor, Tensor]:
    """Weight (labels, size) and bias (labels,) of the head on x (clips, size)."""
    with torch.inference_mode(False), torch.enable_grad():
        x, targets = x.clone(), targets.clone()  # inference tensors have no gradients
        weight = torch.zeros(targets.shape[1], x.shape[1], requires_grad=True)
        bias = torch.zeros(targets.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=_MAX_ITERATIONS,
            tolerance_grad=1e-6,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = x @ weight.T + bias
            penalty = weight.square().sum() / (2 * c * len(x))
            total = comparison_loss(logits, targets, loss) + penalty
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _encoder_hash(network: FrozenEncoder) -> str:
    """Twelve digits that differ between encoders."""
    encoder: Any = network.encoder
    path: Path = encoder.path if isinstance(encoder, OnnxEncoder) else WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _read_cache(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The cached vectors; None where there are none, or damaged ones."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float32 else None
