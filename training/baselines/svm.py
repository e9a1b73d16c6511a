"""``svm``: scikit-learn's ``SVC``, which is libsvm."""

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

# Time grows with the square of their number. This many took 17 s and gave a model of 12 MB; ten
# times as many would take half an hour.
MAX_CLIPS = 20_000
_CACHE_MB = 500


def check_svm(dataset: Dataset, counts: NDArray[np.int64], config: TrainConfig) -> None:
    """See that it can be fitted to training clips of which each label has ``counts`` (labels,).

    Raises:
        TrainingError: more clips than it is sensible for.
    """
    del dataset, config
    if counts.sum() > MAX_CLIPS:
        raise TrainingError(
            f"svm compares all clips with all others, and {counts.sum():,} are too many (at most "
            f"{MAX_CLIPS:,}); take logistic, random-forest or mlp, or prepare fewer clips"
        )


def fit_svm(
    network: Svm, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Fit a machine for each pair of labels."""
    options = SvmConfig(**config.options)
    x = fit_embeddings(model, network, clips).numpy()
    machines = SVC(C=options.c, gamma=network.head.gamma, cache_size=_CACHE_MB)
    load_fitted(network, machines.fit(x, label_indices(clips)))


def load_fitted(network: Svm, fitted: SVC) -> None:
    """The support vectors of a fitted estimator."""
    network.head.set_fitted_buffers(
        support=torch.from_numpy(np.asarray(fitted.support_vectors_)),
        coefficient=torch.from_numpy(_pair_coefficients(fitted)),
        # Of two labels scikit-learn turns the sign, so that the second is the positive one.
        intercept=torch.from_numpy(_sign(fitted) * fitted.intercept_),
    )


def _pair_coefficients(fitted: SVC) -> NDArray[np.float64]:
    """Coefficients (vectors, pairs) of the machines (0, 1), (0, 2), ..., (1, 2), ...

    ``dual_coef_`` (labels - 1, vectors) has those of a vector of label ``a`` against label ``b`` in
    row ``b``, less one where ``b`` comes after ``a``; vectors are sorted by label
    (https://scikit-learn.org/stable/modules/svm.html, "Multi-class classification").
    """
    n_labels = len(fitted.n_support_)
    ends = np.cumsum(fitted.n_support_)
    per_label = [slice(end - n, end) for end, n in zip(ends, fitted.n_support_, strict=True)]
    pairs = list(combinations(range(n_labels), 2))
    found = np.zeros((ends[-1], len(pairs)))
    for pair, (first, second) in enumerate(pairs):
        found[per_label[first], pair] = fitted.dual_coef_[second - 1, per_label[first]]
        found[per_label[second], pair] = fitted.dual_coef_[first, per_label[second]]
    return _sign(fitted) * found


def _sign(fitted: SVC) -> int:
    return -1 if len(fitted.n_support_) == 2 else 1
