"""Which labels scores speak for: the one rule that training and service share."""

import numpy as np

from earful.models.bundle.decision import predicted_label_mask

SCORE_KINDS = np.array(
    [[0.9, 0.5, 0.1], [0.4, 0.3, 0.2], [0.5, 0.5, 0.5], [0.2, 0.7, 0.49]], np.float32
)


def test_softmax_predicts_the_top_label_only() -> None:
    assert predicted_label_mask(SCORE_KINDS, "softmax").astype(int).tolist() == [
        [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]
    ]  # fmt: skip


def test_sigmoid_predicts_all_labels_from_one_half_and_at_least_one() -> None:
    assert predicted_label_mask(SCORE_KINDS, "sigmoid").astype(int).tolist() == [
        [1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]
    ]  # fmt: skip
    assert predicted_label_mask(SCORE_KINDS, "sigmoid", 0.8).astype(int).tolist() == [
        [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]
    ]  # fmt: skip
