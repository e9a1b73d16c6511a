"""``logistic``: scikit-learn's ``LogisticRegression``."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.logistic import Logistic, LogisticConfig
from earful.training.baselines.pooled_clips import fit_embeddings, label_indices
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.loader import StoredFeatures

# L-BFGS needs about 200 on standardised features.
_MAX_ITERATIONS = 2000


def fit_logistic(
    network: Logistic, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Fit multinomial logistic regression with an L2 penalty."""
    options = LogisticConfig(**config.options)
    x = fit_embeddings(model, network, clips).numpy()
    fitted = LogisticRegression(C=options.c, max_iter=_MAX_ITERATIONS).fit(x, label_indices(clips))
    load_fitted(network, fitted)


def load_fitted(network: Logistic, fitted: LogisticRegression) -> None:
    """Copy the weights of a fitted estimator into the network."""
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:  # two labels: only the logit of the second against the first
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([np.zeros_like(bias), bias])
    network.head.set_fitted_buffers(weight=torch.from_numpy(weight), bias=torch.from_numpy(bias))
