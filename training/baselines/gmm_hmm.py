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
from earful.models.networks.baselines.gmm_hmm import IMPOSSIBLE, GmmHmm, GmmHmmConfig
from earful.training.baselines.left_right import Floats, fit_word
from earful.training.baselines.majority import log_shares
from earful.training.baselines.pooled_clips import only
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.loader import StoredFeatures

# hmmlearn takes about 5 ms a clip and round. On FSDD twice as many add nothing that can be told.
MOST_CLIPS_OF_A_LABEL = 200
# Processes take two seconds to start.
_PROCESSES_FROM_CLIPS = 500


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
    fewest = min(int(counts.min()), MOST_CLIPS_OF_A_LABEL)
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
    of_label = [
        only(clips, label, MOST_CLIPS_OF_A_LABEL, generator)
        for label in range(clips.targets.n_labels)
    ]
    frames = [_frames(network, model, word) for word in of_label]
    network.standardise.fit(torch.cat([word.flatten(0, 1) for word in frames]))
    n_jobs = -1 if len(clips.epoch) >= _PROCESSES_FROM_CLIPS else 1
    words = Parallel(n_jobs=n_jobs)(
        delayed(fit_word)(_standardised(network, x), options.states, options.mixtures, config.seed)
        for x in frames
    )
    network.head.set_fitted(log_shares=log_shares(clips))
    take(network, words)


def take(network: GmmHmm, words: Sequence[GMMHMM]) -> None:
    """The numbers of fitted models, one for each label."""
    network.words.set_fitted(
        log_start=_log([word.startprob_ for word in words]),
        log_transition=_log([word.transmat_ for word in words]),
        log_weight=_log([word.weights_ for word in words]),
        mean=torch.from_numpy(np.stack([word.means_ for word in words])),
        variance=torch.from_numpy(np.stack([word.covars_ for word in words])),
    )


def _log(probabilities: Sequence[Floats]) -> Tensor:
    return torch.from_numpy(np.stack(probabilities)).log().clamp_min(IMPOSSIBLE)


def _frames(network: GmmHmm, model: NormalisedNetwork, clips: StoredFeatures) -> Tensor:
    """Frames (clips, frames, size) of all clips, before they are standardised."""
    return torch.cat(
        [network.with_deltas(model.normalise(features)) for features, _ in clips.in_order()]
    )


def _standardised(network: GmmHmm, frames: Tensor) -> Floats:
    found: Floats = network.standardise(frames).double().numpy()
    return found
