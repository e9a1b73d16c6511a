"""``svm``: scikit-learn's ``SVC`` (libsvm)."""

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.svm import SVC

from earful.data.dataset.dataset import Dataset
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.svm import Svm, SvmConfig
from earful.training.baselines.pooled_clips import fit_embeddings, label_indices
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.loader import StoredFeatures

# Time grows with the square of the number of clips: this many took 17 s and gave a model of 12 MB;
# ten times as many would take half an hour.
MAX_CLIPS = 20_000
_CACHE_MB = 500


def check_svm(dataset: Dataset, counts: NDArray[np.int64], config: TrainConfig) -> None:
    """Check that it can be fitted to ``counts`` (labels,) training clips of each label.

    Raises:
        TrainingError: more than ``MAX_CLIPS`` clips.
    """
    del dataset, config
    if counts.sum() > MAX_CLIPS:
        raise TrainingError(
            f"svm compares all pairs of clips, and {counts.sum():,} clips are too many (at most "
            f"{MAX_CLIPS:,}); use logistic, random-forest or mlp, or prepare fewer clips"
        )


def fit_svm(
    network: Svm, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Fit a binary classifier for each pair of labels."""
    options = SvmConfig(**config.options)
    x = fit_embeddings(model, network, clips).numpy()
    machines = SVC(C=options.c, gamma=network.head.gamma, cache_size=_CACHE_MB)
    load_fitted(network, machines.fit(x, label_indices(clips)))


def load_fitted(network: Svm, fitted: SVC) -> None:
    """Copy the support vectors and coefficients of a fitted estimator into the network."""
    network.head.set_fitted_buffers(
        support=torch.from_numpy(np.asarray(fitted.support_vectors_)),
        coefficient=torch.from_numpy(_pair_coefficients(fitted)),
        # With two labels scikit-learn flips the sign, so that the second one is positive.
        intercept=torch.from_numpy(_sign(fitted) * fitted.intercept_),
    )


def _pair_coefficients(fitted: SVC) -> NDArray[np.float64]:
    """Coefficients (vectors, pairs) of the classifiers (0, 1), (0, 2), ..., (1, 2), ...

    ``dual_coef_`` (labels - 1, vectors) has the coefficients of a vector of label ``a`` against
    label ``b`` in row ``b``, or ``b - 1`` if ``b > a``; vectors are sorted by label
    (https://scikit-learn.org/stable/modules/svm.html, "Multi-class classification").
    """
    n_labels = len(fitted.n_support_)
    ends = np.cumsum(fitted.n_support_)
    per_label = [slice(end - n, end) for end, n in zip(ends, fitted.n_support_, strict=True)]
    pairs = list(combinations(range(n_labels), 2))
    coefficients = np.zeros((ends[-1], len(pairs)))
    for pair, (first, second) in enumerate(pairs):
        coefficients[per_label[first], pair] = fitted.dual_coef_[second - 1, per_label[first]]
        coefficients[per_label[second], pair] = fitted.dual_coef_[first, per_label[second]]
    return _sign(fitted) * coefficients


def _sign(fitted: SVC) -> int:
    return -1 if len(fitted.n_support_) == 2 else 1
