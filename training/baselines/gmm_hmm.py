"""``gmm-hmm``: a left-to-right ``GMMHMM`` of hmmlearn for each label."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.gmm_hmm import LOG_ZERO, GmmHmm, GmmHmmConfig
from earful.training.baselines.majority import log_prior
from earful.training.baselines.pooled_clips import select_label
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.loader import StoredFeatures

if TYPE_CHECKING:
    from hmmlearn.hmm import GMMHMM

FloatArray = NDArray[np.float64]
# hmmlearn takes about 5 ms per clip and iteration. On FSDD twice as many clips do not help.
MAX_CLIPS_PER_LABEL = 200
# Below this it is faster without processes, which take two seconds to start.
_MIN_PARALLEL_CLIPS = 500


def check_gmm_hmm(dataset: Dataset, counts: NDArray[np.int64], config: TrainConfig) -> None:
    """Check that it can be fitted to ``counts`` (labels,) training clips of each label.

    Raises:
        TrainingError: hmmlearn is not installed, the features are not MFCC, or a label has fewer
            frames per state than Gaussians.
    """
    if importlib.util.find_spec("hmmlearn") is None:
        raise TrainingError(
            "gmm-hmm needs hmmlearn, which comes with the extra train up to Python 3.13; use one "
            "of these, or another model"
        )
    options, n_frames = GmmHmmConfig(**config.options), dataset.features.frames
    if config.features != "mfcc":
        raise TrainingError(
            f"gmm-hmm needs mfcc, found {config.features}: its Gaussians have diagonal "
            "covariances, and the bins of log_mel are correlated; leave out --features"
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
    """Fit a model per label, in parallel processes for many clips."""
    # hmmlearn is not there on every Python (``check_gmm_hmm``).
    from earful.training.baselines.left_right import fit_label_model  # noqa: PLC0415

    options = GmmHmmConfig(**config.options)
    generator = np.random.default_rng(config.seed)
    clips_per_label = [
        select_label(clips, label, MAX_CLIPS_PER_LABEL, generator)
        for label in range(clips.targets.n_labels)
    ]
    frames_per_label = [_frames(network, model, of_label) for of_label in clips_per_label]
    network.standardiser.fit(torch.cat([frames.flatten(0, 1) for frames in frames_per_label]))
    n_jobs = -1 if len(clips.sampler) >= _MIN_PARALLEL_CLIPS else 1
    hmms = Parallel(n_jobs=n_jobs)(
        delayed(fit_label_model)(
            _standardised(network, frames), options.states, options.mixtures, config.seed
        )
        for frames in frames_per_label
    )
    network.head.set_fitted_buffers(log_prior=log_prior(clips))
    load_fitted(network, hmms)


def load_fitted(network: GmmHmm, hmms: "Sequence[GMMHMM]") -> None:
    """Copy the parameters of fitted models, one for each label, into the network."""
    network.hmms.set_fitted_buffers(
        log_start=_log([hmm.startprob_ for hmm in hmms]),
        log_transition=_log([hmm.transmat_ for hmm in hmms]),
        log_weight=_log([hmm.weights_ for hmm in hmms]),
        mean=torch.from_numpy(np.stack([hmm.means_ for hmm in hmms])),
        variance=torch.from_numpy(np.stack([hmm.covars_ for hmm in hmms])),
    )


def _log(probabilities: Sequence[FloatArray]) -> Tensor:
    return torch.from_numpy(np.stack(probabilities)).log().clamp_min(LOG_ZERO)


def _frames(network: GmmHmm, model: NormalisedNetwork, clips: StoredFeatures) -> Tensor:
    """Features with deltas (clips, frames, size), before standardisation."""
    return torch.cat(
        [
            network.with_deltas(model.normalise(features))
            for features, _ in clips.sequential_batches()
        ]
    )


def _standardised(network: GmmHmm, frames: Tensor) -> FloatArray:
    standardised: FloatArray = network.standardiser(frames).double().numpy()
    return standardised
