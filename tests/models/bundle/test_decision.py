"""How scores become labels: the rule that training and serving share."""

import numpy as np

from earful.models.bundle.decision import predicted_label_mask

SCORES = np.array([[0.9, 0.5, 0.1], [0.4, 0.3, 0.2], [0.5, 0.5, 0.5], [0.2, 0.7, 0.49]], np.float32)


def test_softmax_predicts_the_top_label_only() -> None:
    mask = predicted_label_mask(SCORES, "softmax").astype(int)
    assert mask.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_sigmoid_predicts_all_labels_from_one_half_and_at_least_one() -> None:
    mask = predicted_label_mask(SCORES, "sigmoid").astype(int)
    assert mask.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]]
    mask = predicted_label_mask(SCORES, "sigmoid", 0.8).astype(int)
    assert mask.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
