"""``gmm-hmm``: hmmlearn's ``GMMHMM``, one for each label, its states in a row."""

from collections.abc import Sequence

import numpy as np
import torch
from hmmlearn.hmm import GMMHMM
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.gmm_hmm import LOG_ZERO, GmmHmm, GmmHmmConfig
from earful.training.baselines.left_right import FloatArray, fit_label_model
from earful.training.baselines.majority import log_prior
from earful.training.baselines.pooled_clips import select_label
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.loader import StoredFeatures

# hmmlearn takes about 5 ms a clip and round. On FSDD twice as many add nothing that can be told.
MAX_CLIPS_PER_LABEL = 200
# Processes take two seconds to start.
_MIN_PARALLEL_CLIPS = 500


def check_gmm_hmm(dataset: Dataset, counts: NDArray[np.int64], config: TrainConfig) -> None:
    """See that it can be fitted to training clips of which each label has ``counts`` (labels,).

    Raises:
        TrainingError: features that are not MFCC, or a label with too few frames for its states:
            each Gaussian begins with one at least.
    """
    options, n_frames = GmmHmmConfig(**config.options), dataset.features.frames
    if config.features != "mfcc":
        raise TrainingError(
            "gmm-hmm reads mfcc: neighbouring bands of log_mel go together, and its Gaussians know "
            "of no correlation; leave --features away"
        )
    fewest = min(int(counts.min()), MAX_CLIPS_PER_LABEL)
    if fewest * (n_frames // options.states) < options.mixtures:
        raise TrainingError(
            f"{options.states} states of {options.mixtures} Gaussians are too many for a label "
            f"with {fewest} clips of {n_frames} frames; lower states or mixtures"
        )


def fit_gmm_hmm(
    network: GmmHmm, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Fit the models, as many at a time as there are processors."""
    options = GmmHmmConfig(**config.options)
    generator = np.random.default_rng(config.seed)
    per_label = [
        select_label(clips, label, MAX_CLIPS_PER_LABEL, generator)
        for label in range(clips.targets.n_labels)
    ]
    frames = [_frames(network, model, word) for word in per_label]
    network.standardiser.fit(torch.cat([word.flatten(0, 1) for word in frames]))
    n_jobs = -1 if len(clips.sampler) >= _MIN_PARALLEL_CLIPS else 1
    hmms = Parallel(n_jobs=n_jobs)(
        delayed(fit_label_model)(_standardised(network, x), options.states, options.mixtures, config.seed)
        for x in frames
    )
    network.head.set_fitted_buffers(log_prior=log_prior(clips))
    load_fitted(network, hmms)


def load_fitted(network: GmmHmm, hmms: Sequence[GMMHMM]) -> None:
    """The numbers of fitted models, one for each label."""
    network.hmms.set_fitted_buffers(
        log_start=_log([word.startprob_ for word in hmms]),
        log_transition=_log([word.transmat_ for word in hmms]),
        log_weight=_log([word.weights_ for word in hmms]),
        mean=torch.from_numpy(np.stack([word.means_ for word in hmms])),
        variance=torch.from_numpy(np.stack([word.covars_ for word in hmms])),
    )


def _log(probabilities: Sequence[FloatArray]) -> Tensor:
    return torch.from_numpy(np.stack(probabilities)).log().clamp_min(LOG_ZERO)


def _frames(network: GmmHmm, model: NormalisedNetwork, clips: StoredFeatures) -> Tensor:
    """Frames (clips, frames, size) of all clips, before they are standardised."""
    return torch.cat(
        [network.with_deltas(model.normalise(features)) for features, _ in clips.sequential_batches()]
    )


def _standardised(network: GmmHmm, frames: Tensor) -> FloatArray:
    found: FloatArray = network.standardiser(frames).double().numpy()
    return found
