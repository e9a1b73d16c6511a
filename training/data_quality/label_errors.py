"""Labels that are likely wrong: what the other clips say of a clip against what its label says.

Confident learning (Northcutt et al., arXiv:1911.00068): a classifier gives each clip probabilities
without having learnt from it, and the joint distribution of given and true labels is estimated from
these. Three choices are ours, each by what it found among labels that were flipped
(``tests/benchmarks/label_errors.py`` sets it beside the paper's counting):

- The classifier is kernel ridge regression on pictures of the sound (``doctor.sound``). Leaving one
  clip out has a closed form (Rasmussen and Williams, 2006, section 5.4.2), so that every clip is
  judged by all others, its own speaker's among them, for the price of one matrix inverse.
- The joint is fitted by expectation-maximisation in place of counting over thresholds: where the
  classifier is often unsure, counting takes its confusions for wrong labels.
- Suspects are left out and the rest judged again, so that wrong labels teach nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.intp]
Flags = NDArray[np.bool_]

# A label with fewer clips is not judged: there is too little to judge by.
FEWEST_CLIPS = 5
# A label is listed that is more likely wrong than right.
SUSPECT = 0.5
# The inverse of a matrix grows with the cube: more clips are judged in random parts of this many.
PART_CLIPS = 4_000
ROUNDS = 3

# Chosen by the share of left-out clips that are recognised in FSDD and in the keywords with 5 % of
# the labels flipped (seeds 0 and 1); half or twice of each changes it by less than a point.
_WIDTH = 1.5
_RIDGE = 0.05
# Before anything is seen: one label in a hundred is wrong, as firmly as 200 clips would say it, and
# any other label is as likely in its place, as firmly as three times the clips of a label (or 300).
_PRIOR_WRONG, _PRIOR_CLIPS = 2.0, 200.0
_PAIR_TIMES, _PAIR_LEAST = 3.0, 300.0
# The fit starts from many wrong labels: from few it may end where nothing is sure of anything.
_FIRST_WRONG = 0.1
_FIT_ROUNDS = 10
# One number is fitted to the scores of the clips; so many tell it well enough.
_FIT_CLIPS = 5_000
_SCALES = (0.3, 300.0)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judgement:
    """What each clip's label looks like to the others; arrays (clips,).

    ``wrong`` is the probability that the given label is wrong, ``heard`` the code of the label that
    is likeliest of the others, ``share`` the estimated share of wrong labels in all.
    """

    wrong: NDArray[np.float64]
    heard: Codes
    share: float


def judge(
    pictures: NDArray[np.float16], codes: Codes, n_labels: int, progress: Progress
) -> Judgement:
    """Judge ``codes`` (clips,), of two labels or more, by pictures (clips, views, values)."""
    n_parts = -(-len(codes) // PART_CLIPS)
    parts = np.array_split(np.random.default_rng(0).permutation(len(codes)), n_parts)
    scores = np.zeros((len(codes), n_labels), np.float32)
    trusted: Flags = np.ones(len(codes), bool)
    kernel: Floats | None = None
    for number in range(ROUNDS):
        for done, part in enumerate(parts):
            progress(number * n_parts + done, ROUNDS * n_parts)
            if kernel is None or n_parts > 1:  # one part is the same in every round
                kernel = similarities(pictures[part])
            scores[part] = left_out_scores(kernel, codes[part], n_labels, trusted[part])
        judgement = weigh(scores, codes)
        trusted = judgement.wrong < SUSPECT
    progress(ROUNDS * n_parts, ROUNDS * n_parts)
    return judgement


def similarities(pictures: NDArray[np.float16]) -> Floats:
    """Gaussian kernel (clips, clips) of pictures (clips, views, values), 1 for equal ones.

    Each view counts alike; the median distance between two clips gives exp(-1.5).
    """
    centred = pictures.astype(np.float32)
    centred -= centred.mean(axis=0)
    energy = np.sqrt(np.square(centred).sum(axis=2).mean(axis=0))  # (views,)
    flat = (centred / np.maximum(energy, 1e-6)[:, None]).reshape(len(pictures), -1)
    norms = np.square(flat).sum(axis=1)
    distances = norms[:, None] + norms - 2 * flat @ flat.T
    np.maximum(distances, 0, out=distances)
    scale = float(np.median(distances))
    distances *= -_WIDTH / max(scale, 1e-6)
    kernel: Floats = np.exp(distances, out=distances)
    return kernel


def left_out_scores(kernel: Floats, codes: Codes, n_labels: int, trusted: Flags) -> Floats:
    """What the other trusted clips say of each: scores (clips, labels) of ridge regression.

    Without clip i, the prediction for it is y_i - a_i / (K + lambda I)^-1_ii.
    """
    targets = np.full((len(codes), n_labels), -1 / n_labels, np.float32)
    targets[np.arange(len(codes)), codes] += 1
    kept, others = np.flatnonzero(trusted), np.flatnonzero(~trusted)
    inverse = np.linalg.inv(
        kernel[np.ix_(kept, kept)] + _RIDGE * np.eye(len(kept), dtype=np.float32)
    )
    weights = inverse @ targets[kept]
    scores = np.empty_like(targets)
    scores[kept] = targets[kept] - weights / np.diag(inverse)[:, None]
    scores[others] = kernel[np.ix_(others, kept)] @ weights
    return scores


def weigh(scores: Floats, codes: Codes) -> Judgement:
    """The probability that each label is wrong, by scores (clips, labels) of left-out clips.

    Fitted together: how sure the scores make (one scale for all), and how often a label is given
    for another, each by what the others say of it.
    """
    n_clips, n_labels = scores.shape
    firmness = max(_PAIR_TIMES * n_clips / n_labels, _PAIR_LEAST)
    given = _evenly(n_labels, _FIRST_WRONG)
    for _ in range(_FIT_ROUNDS):
        probabilities = softmax(scores * _best_scale(scores, codes, given))
        posterior = probabilities * given[:, codes].T  # (clips, true labels)
        posterior /= posterior.sum(axis=1, keepdims=True)
        joint = np.zeros((n_labels, n_labels))
        np.add.at(joint, codes, posterior)  # (given, true)
        given = _noise(joint.T, n_clips, firmness)
    clips = np.arange(n_clips)
    wrong = 1 - posterior[clips, codes]
    posterior[clips, codes] = -1
    return Judgement(wrong, posterior.argmax(axis=1), float(wrong.mean()))


def softmax(scores: Floats) -> NDArray[np.float64]:
    """Probabilities (clips, labels)."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _noise(joint: NDArray[np.float64], n_clips: int, firmness: float) -> NDArray[np.float64]:
    """P(given | true) (true, given) of expected counts (true, given), drawn to the prior."""
    wrong = joint.sum() - np.trace(joint)
    rate = min((wrong + _PRIOR_WRONG) / (n_clips + _PRIOR_CLIPS), 0.5)
    drawn = joint + firmness * _evenly(len(joint), rate)
    given: NDArray[np.float64] = drawn / drawn.sum(axis=1, keepdims=True)
    return given


def _evenly(n_labels: int, rate: float) -> NDArray[np.float64]:
    """P(given | true) (true, given) where a share is wrong, any other label as likely."""
    given = np.full((n_labels, n_labels), rate / (n_labels - 1))
    np.fill_diagonal(given, 1 - rate)
    return given


def _best_scale(scores: Floats, codes: Codes, given: NDArray[np.float64]) -> float:
    """The factor of the scores under which the given labels are likeliest (golden section)."""
    step = -(-len(codes) // _FIT_CLIPS)
    scores, codes = scores[::step], codes[::step]

    def surprise(log_scale: float) -> float:
        likelihood = (softmax(scores * np.float32(np.exp(log_scale))) * given[:, codes].T).sum(1)
        return -float(np.log(np.maximum(likelihood, 1e-12)).mean())

    return float(np.exp(_lowest(surprise, *np.log(_SCALES))))


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is lowest, within a thousandth of the interval."""
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
