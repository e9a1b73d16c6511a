"""The fitted networks compute what scikit-learn and hmmlearn do."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hmmlearn.hmm import GMMHMM
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch import Tensor

from earful.models.layers.base import Network
from earful.models.layers.pooling import pooled_size
from earful.models.networks.baselines.gmm_hmm import ACOUSTIC_SCALE, GmmHmm
from earful.models.networks.baselines.logistic import Logistic
from earful.models.networks.baselines.random_forest import RAMP, RandomForest
from earful.models.networks.baselines.svm import Svm
from earful.models.networks.zoo import build_network
from earful.training.baselines import gmm_hmm, logistic, random_forest, svm
from earful.training.baselines.left_right import fit_label_model

BINS, FRAMES, CLIPS = 4, 12, 160
STEP = 0.25
SIZE = pooled_size(BINS)
FloatArray = NDArray[np.float32]


def clusters(n_labels: int, step: float = 0.0) -> tuple[FloatArray, NDArray[np.int64]]:
    """Embeddings (clips, size) around a centre for each label, and the labels.

    Values are multiples of ``step`` unless it is 0.
    """
    generator = np.random.default_rng(n_labels)
    targets = np.arange(CLIPS) % n_labels
    centres = generator.standard_normal((n_labels, SIZE))
    x = centres[targets] + generator.standard_normal((CLIPS, SIZE))
    return (np.round(x / step) * step if step else x).astype(np.float32), targets


def network_probabilities(name: str, network: Network, x: FloatArray) -> NDArray[np.float32]:
    """Probabilities (clips, labels) of embeddings, from a copy of the network's saved state."""
    n_labels = len(network.head(torch.from_numpy(x[:1]))[0])
    loaded = build_network(name, BINS, FRAMES, n_labels, {})
    loaded.load_state_dict(network.state_dict())
    with torch.inference_mode():
        return torch.softmax(loaded.head(torch.from_numpy(x)), dim=1).numpy()


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_logistic_regression_gives_the_same_probabilities(n_labels: int) -> None:
    x, targets = clusters(n_labels)
    fitted = LogisticRegression(max_iter=1000).fit(x, targets)
    network = build_network("logistic", BINS, FRAMES, n_labels, {})
    assert isinstance(network, Logistic)
    logistic.load_fitted(network, fitted)
    np.testing.assert_allclose(
        network_probabilities("logistic", network, x), fitted.predict_proba(x), atol=1e-5
    )


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_svm_decisions_and_nearly_all_predictions_match(n_labels: int) -> None:
    x, targets = clusters(n_labels)
    fitted = SVC(C=1.0, gamma=1 / SIZE, decision_function_shape="ovo").fit(x, targets)
    network = build_network("svm", BINS, FRAMES, n_labels, {})
    assert isinstance(network, Svm)
    svm.load_fitted(network, fitted)
    new = np.random.default_rng(9).standard_normal((300, SIZE)).astype(np.float32)
    decisions = network.head.decisions(torch.from_numpy(new)).numpy()
    # With two labels scikit-learn's decision is positive for the second, with more for the first.
    expected = fitted.decision_function(new)
    expected = -expected[:, None] if n_labels == 2 else expected
    np.testing.assert_allclose(decisions, expected, atol=1e-5)
    agreement = (network_probabilities("svm", network, new).argmax(1) == fitted.predict(new)).mean()
    assert agreement == 1 if n_labels == 2 else agreement > 0.95


def away_from_thresholds(x: FloatArray) -> FloatArray:
    """``x`` moved away from thresholds, which lie at multiples of half the step."""
    assert STEP / 4 > RAMP
    return x + np.float32(STEP / 4)


@pytest.mark.parametrize("depth", [1, 5, None])
@pytest.mark.parametrize("n_labels", [2, 4])
def test_a_forest_gives_the_same_probabilities_away_from_its_thresholds(
    n_labels: int, depth: int | None
) -> None:
    x, targets = clusters(n_labels, STEP)
    fitted = RandomForestClassifier(30, max_depth=depth, random_state=1).fit(x, targets)
    network = forest(fitted, n_labels)
    x = away_from_thresholds(x)
    probabilities = network.head.probabilities(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(probabilities, fitted.predict_proba(x), atol=1e-6)
    assert (network_probabilities("random-forest", network, x).argmax(1) == fitted.predict(x)).all()


def test_single_leaf_tree_still_votes() -> None:
    x, targets = clusters(2, STEP)
    fitted = RandomForestClassifier(40, random_state=1).fit(x[:3], targets[:3])
    x = away_from_thresholds(x)
    assert any(tree.tree_.node_count == 1 for tree in fitted.estimators_)
    probabilities = forest(fitted, 2).head.probabilities(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(probabilities, fitted.predict_proba(x), atol=1e-6)


def test_scores_change_smoothly_at_forest_thresholds() -> None:
    x, targets = clusters(3)
    fitted = RandomForestClassifier(5, random_state=1).fit(x, targets)
    root = fitted.estimators_[0].tree_
    edge = x[:1].copy()
    edge[0, root.feature[0]] = root.threshold[0]
    inputs = [edge + shift for shift in (-1e-5, 0, 1e-5)]
    jump = fitted.predict_proba(inputs[2]) - fitted.predict_proba(inputs[0])
    assert np.abs(jump).max() > 0.05
    head = forest(fitted, 3).head
    probabilities = [head.probabilities(torch.from_numpy(x.astype(np.float32))) for x in inputs]
    for before, after in pairwise(probabilities):
        assert float((after - before).abs().max()) < 0.005


def forest(fitted: RandomForestClassifier, n_labels: int) -> RandomForest:
    network = build_network("random-forest", BINS, FRAMES, n_labels, {})
    assert isinstance(network, RandomForest)
    random_forest.load_fitted(network, fitted)
    return network


def test_likelihoods_of_a_gmm_hmm_are_those_of_hmmlearn() -> None:
    generator = np.random.default_rng(4)
    clips = generator.standard_normal((2, 20, FRAMES, 2 * BINS)).cumsum(axis=2)
    hmms = [fit_label_model(clips[label], states=3, mixtures=2, seed=1) for label in range(2)]
    for hmm in hmms:  # left to right: no way back, and no state is skipped
        assert (np.triu(hmm.transmat_) - np.triu(hmm.transmat_, 2) == hmm.transmat_).all()
    assert_matches_hmmlearn(hmms, clips.reshape(-1, FRAMES, 2 * BINS), states=3, mixtures=2)


def test_likelihoods_match_for_fully_connected_states() -> None:
    generator = np.random.default_rng(5)
    clips = generator.standard_normal((2, 15, FRAMES, 2 * BINS))
    hmms = []
    for label in range(2):
        hmm = GMMHMM(4, 1, random_state=1, n_iter=2)
        hmms.append(hmm.fit(clips[label].reshape(-1, 2 * BINS), [FRAMES] * 15))
    assert_matches_hmmlearn(hmms, clips.reshape(-1, FRAMES, 2 * BINS), states=4, mixtures=1)


def assert_matches_hmmlearn(
    hmms: list[GMMHMM], clips: NDArray[np.float64], states: int, mixtures: int
) -> None:
    options = {"states": states, "mixtures": mixtures}
    network = build_network("gmm-hmm", BINS, FRAMES, len(hmms), options)
    assert isinstance(network, GmmHmm)
    gmm_hmm.load_fitted(network, hmms)
    expected = np.array([[hmm.score(clip) for hmm in hmms] for clip in clips])
    log_likelihoods = network.hmms(torch.from_numpy(clips).float())
    np.testing.assert_allclose(log_likelihoods, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1.0, 30.0, 1000.0])
def test_a_gmm_hmm_stays_finite_however_unlikely_a_clip_is(level: float) -> None:
    generator = np.random.default_rng(6)
    silence = np.zeros((12, FRAMES, 2 * BINS))
    hmms = [fit_label_model(silence + label, states=3, mixtures=2, seed=1) for label in range(2)]
    network = build_network("gmm-hmm", BINS, FRAMES, 2, {"states": 3, "mixtures": 2})
    assert isinstance(network, GmmHmm)
    gmm_hmm.load_fitted(network, hmms)
    x = torch.from_numpy(level * generator.standard_normal((3, BINS, FRAMES))).float()
    assert torch.isfinite(network(x)).all()
    torch.testing.assert_close(network.embed(x), ACOUSTIC_SCALE * log_likelihoods(network, x))


def log_likelihoods(network: GmmHmm, x: Tensor) -> Tensor:
    values: Tensor = network.hmms(network.standardiser(network.with_deltas(x)))
    return values
