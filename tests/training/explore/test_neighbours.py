"""Neighbours, purity and outliers of point sets with known answers."""

import numpy as np
import pytest

from earful.training.explore.neighbours import (
    find_neighbours,
    find_outliers,
    purity,
    unit_length,
    whitened,
)

GENERATOR = np.random.default_rng(3)


def clusters(n_each: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Three distant clusters (clips, 5) and their labels (clips,)."""
    centres = np.repeat(np.eye(5)[:3] * 50, n_each, axis=0)
    return centres + GENERATOR.standard_normal((3 * n_each, 5)), np.repeat(np.arange(3), n_each)


def test_neighbours_are_the_nearest_others() -> None:
    vectors = GENERATOR.standard_normal((40, 4))
    found = find_neighbours(vectors, 6)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1)[:, :6])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :6], rtol=1e-6)
    assert find_neighbours(vectors[:3], 6).k == 2


def test_only_wrong_labels_disagree_with_their_neighbours() -> None:
    vectors, labels = clusters()
    near = find_neighbours(vectors)
    assert purity(near, labels) == 1.0
    given = labels.copy()
    given[[4, 40]] = [2, 0]
    found = find_outliers(near, given, 3)
    assert set(np.argsort(-found.disagreement)[:2]) == {4, 40}
    np.testing.assert_allclose(found.disagreement[[4, 40]], 1.0)
    assert found.suggested[[4, 40]].tolist() == [0, 1]
    others = np.delete(np.arange(90), [4, 40])
    assert found.disagreement[others].max() < 0
    assert (found.suggested[others] == given[others]).all()
    assert {4, 40} < set(found.top(3))


def test_nearer_neighbours_have_more_weight_and_copies_most() -> None:
    line = np.array([[0.0], [0.0], [5.0], [6.0]])  # the first two are copies
    found = find_outliers(find_neighbours(line, 3), np.array([0, 1, 0, 0]), 2)
    assert found.disagreement[0] > 0
    assert found.suggested[0] == 1


def test_isolated_clip_is_found_by_its_distance() -> None:
    vectors, labels = clusters()
    vectors[7] += 30
    found = find_outliers(find_neighbours(vectors), labels, 3)
    assert found.distance.argmax() == 7
    assert found.distance[7] > 5
    assert np.median(found.distance) == pytest.approx(1.0)


def test_identical_clips_and_single_label_sets_have_no_outliers() -> None:
    same = find_outliers(find_neighbours(np.zeros((5, 3))), np.zeros(5, np.int64), 1)
    assert (same.disagreement <= 0).all()
    assert (same.distance == 1).all()
    assert not whitened(np.ones((5, 3), np.float32)).any()


def test_whitening_decorrelates_and_equalises_variance() -> None:
    mixed = GENERATOR.standard_normal((20_000, 3)) @ np.array([[3, 1, 0], [0, 2, 1], [0, 0, 1]])
    found = whitened(mixed.astype(np.float32))
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(3), atol=0.01)
    few = whitened(mixed[:20].astype(np.float32))
    spread = (few.T @ few / len(few)).diagonal()
    assert spread.max() < 1
    assert spread.max() / spread.min() > 1.5  # small variances of few points are not amplified


def test_unit_length_keeps_directions_and_a_vector_of_zeros() -> None:
    vectors = np.array([[3, 4], [0.6, 0.8], [0, 0]], np.float32)
    np.testing.assert_allclose(unit_length(vectors), [[0.6, 0.8], [0.6, 0.8], [0, 0]])
