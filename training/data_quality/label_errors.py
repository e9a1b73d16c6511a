"""Find likely label errors: clips whose audio contradicts their label.

Confident learning (Northcutt et al., arXiv:1911.00068): out-of-sample class probabilities of each
clip give an estimate of the joint distribution of given and true labels. Three choices differ from
the paper, each by its results on flipped labels (``tests/benchmarks/label_errors.py`` compares with
the paper's counting):

- The classifier is kernel ridge regression, which predicts every clip from all others, including
  its own speaker's (``data_quality.leave_one_out``).
- The joint is fitted by expectation-maximisation instead of counting over thresholds: counting
  takes the confusions of an uncertain classifier for label errors.
- Suspected clips are excluded and the others fitted again, so wrong labels are not learnt from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earful.training.data_quality.leave_one_out import (
    BoolArray,
    Float32Array,
    LabelIndices,
    comparison_kernel,
    encoder_helps,
    leave_one_out_scores,
)

# Labels with fewer clips are not checked.
MIN_CLIPS_PER_LABEL = 5
# Labels that are more likely wrong than correct are reported.
ERROR_PROBABILITY_THRESHOLD = 0.5
# Inverting a matrix is cubic: larger datasets are checked in random blocks of this size.
MAX_BLOCK_CLIPS = 4_000
CLEANING_ROUNDS = 3
# Enough to tell whether the encoder's vectors lower the accuracy.
_CHOICE_CLIPS = 1_000

# Prior: 1 % of the labels are wrong, with the weight of 200 clips; the wrong label is uniform over
# the others, with the weight of three times the mean clips of a label (at least 300).
_PRIOR_ERRORS, _PRIOR_CLIPS = 2.0, 200.0
_PAIR_PRIOR_RATIO, _MIN_PAIR_PRIOR = 3.0, 300.0
# EM starts from a high error rate: from a low one it may end with flat probabilities.
_INITIAL_ERROR_RATE = 0.1
_EM_ITERATIONS = 10
# One scale is fitted to the scores; this many clips are enough.
_FIT_CLIPS = 5_000
_SCALE_RANGE = (0.3, 300.0)

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelErrorEstimate:
    """Label errors of a dataset; arrays (clips,).

    error_probability  probability that the given label is wrong
    suggested          code of the most likely other label
    error_rate         estimated share of wrong labels
    used_encoder       whether clips were compared by encoder vectors too
    """

    error_probability: NDArray[np.float64]
    suggested: LabelIndices
    error_rate: float
    used_encoder: bool = False


def estimate_label_errors(
    thumbnails: NDArray[np.float16],
    encoder_vectors: Float32Array | None,
    label_codes: LabelIndices,
    n_labels: int,
    progress: ProgressCallback,
) -> LabelErrorEstimate:
    """Check ``label_codes`` (clips,) of two or more labels.

    Clips are compared by thumbnails (clips, views, values), and by encoder vectors (clips, values)
    where there are any and they help.
    """
    n_blocks = -(-len(label_codes) // MAX_BLOCK_CLIPS)
    order = np.random.default_rng(0).permutation(len(label_codes))
    blocks = np.array_split(order, n_blocks)
    sample = order[:_CHOICE_CLIPS]
    if encoder_vectors is not None and not encoder_helps(
        thumbnails[sample], encoder_vectors[sample], label_codes[sample], n_labels
    ):
        encoder_vectors = None
    scores = np.zeros((len(label_codes), n_labels), np.float32)
    trusted: BoolArray = np.ones(len(label_codes), bool)
    kernel: Float32Array | None = None
    for number in range(CLEANING_ROUNDS):
        for done, block in enumerate(blocks):
            progress(number * n_blocks + done, CLEANING_ROUNDS * n_blocks)
            if kernel is None or n_blocks > 1:  # a single block has the same kernel in every round
                vectors = None if encoder_vectors is None else encoder_vectors[block]
                kernel = comparison_kernel(thumbnails[block], vectors)
            scores[block] = leave_one_out_scores(
                kernel, label_codes[block], n_labels, trusted[block]
            )
        estimate = fit_noise_model(scores, label_codes)
        trusted = estimate.error_probability < ERROR_PROBABILITY_THRESHOLD
    progress(CLEANING_ROUNDS * n_blocks, CLEANING_ROUNDS * n_blocks)
    return replace(estimate, used_encoder=encoder_vectors is not None)


def fit_noise_model(scores: Float32Array, label_codes: LabelIndices) -> LabelErrorEstimate:
    """Estimate label errors from leave-one-out scores (clips, labels).

    EM fits the scale of the scores and the noise matrix P(given label | true label) jointly.
    """
    n_clips, n_labels = scores.shape
    prior_strength = max(_PAIR_PRIOR_RATIO * n_clips / n_labels, _MIN_PAIR_PRIOR)
    noise_matrix = _uniform_noise_matrix(n_labels, _INITIAL_ERROR_RATE)
    for _ in range(_EM_ITERATIONS):
        probabilities = softmax(scores * _fit_scale(scores, label_codes, noise_matrix))
        posterior = probabilities * noise_matrix[:, label_codes].T  # (clips, true labels)
        posterior /= posterior.sum(axis=1, keepdims=True)
        joint = np.zeros((n_labels, n_labels))
        np.add.at(joint, label_codes, posterior)  # (given, true)
        noise_matrix = _estimate_noise_matrix(joint.T, n_clips, prior_strength)
    clips = np.arange(n_clips)
    error_probability = 1 - posterior[clips, label_codes]
    posterior[clips, label_codes] = -1
    return LabelErrorEstimate(
        error_probability, posterior.argmax(axis=1), float(error_probability.mean())
    )


def softmax(scores: Float32Array) -> NDArray[np.float64]:
    """Probabilities (clips, labels)."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _estimate_noise_matrix(
    joint: NDArray[np.float64], n_clips: int, prior_strength: float
) -> NDArray[np.float64]:
    """P(given | true) as (true, given) from expected counts (true, given) and the prior."""
    n_errors = joint.sum() - np.trace(joint)
    rate = min((n_errors + _PRIOR_ERRORS) / (n_clips + _PRIOR_CLIPS), 0.5)
    smoothed = joint + prior_strength * _uniform_noise_matrix(len(joint), rate)
    noise_matrix: NDArray[np.float64] = smoothed / smoothed.sum(axis=1, keepdims=True)
    return noise_matrix


def _uniform_noise_matrix(n_labels: int, rate: float) -> NDArray[np.float64]:
    """P(given | true) as (true, given) with error rate ``rate``, uniform over other labels."""
    noise_matrix = np.full((n_labels, n_labels), rate / (n_labels - 1))
    np.fill_diagonal(noise_matrix, 1 - rate)
    return noise_matrix


def _fit_scale(
    scores: Float32Array, label_codes: LabelIndices, noise_matrix: NDArray[np.float64]
) -> float:
    """The scale of the scores that maximises the likelihood of the given labels."""
    step = -(-len(label_codes) // _FIT_CLIPS)
    scores, label_codes = scores[::step], label_codes[::step]

    def negative_log_likelihood(log_scale: float) -> float:
        likelihood = (
            softmax(scores * np.float32(np.exp(log_scale))) * noise_matrix[:, label_codes].T
        ).sum(1)
        return -float(np.log(np.maximum(likelihood, 1e-12)).mean())

    return float(np.exp(_golden_section_minimum(negative_log_likelihood, *np.log(_SCALE_RANGE))))


def _golden_section_minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Minimise a unimodal function to within a thousandth of the interval."""
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(14):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2
