"""Which labels scores speak for: the one rule that training and service share."""

import numpy as np

from earful.models.bundle.decision import said_labels

SCORES = np.array([[0.9, 0.5, 0.1], [0.4, 0.3, 0.2], [0.5, 0.5, 0.5], [0.2, 0.7, 0.49]], np.float32)


def test_softmax_says_the_best_alone() -> None:
    assert said_labels(SCORES, "softmax").astype(int).tolist() == [
        [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]
    ]  # fmt: skip


def test_sigmoid_says_all_from_a_half_and_never_nothing() -> None:
    assert said_labels(SCORES, "sigmoid").astype(int).tolist() == [
        [1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]
    ]  # fmt: skip
    assert said_labels(SCORES, "sigmoid", 0.8).astype(int).tolist() == [
        [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]
    ]  # fmt: skip
