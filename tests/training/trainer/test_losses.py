"""The losses match PyTorch's, and correct predictions those of the released model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from earful.models.bundle.decision import predicted_label_mask
from earful.training.config.train_config import Loss, TrainConfig
from earful.training.loaders.class_weights import class_weights, positive_weights, sampling_weights
from earful.training.loaders.sampler import EpochSampler
from earful.training.trainer.losses import classification_loss, comparison_loss, correct_predictions

SEEDED = torch.Generator().manual_seed(3)
LOGITS = 3 * torch.randn(40, 5, generator=SEEDED)
POSITIONS = torch.randint(5, (40,), generator=SEEDED)
ONE_HOT = functional.one_hot(POSITIONS, 5).float()
LABEL_MATRIX = torch.rand(40, 5, generator=SEEDED) < 0.4
CONFIG = TrainConfig()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_matches_pytorch(smoothing: float) -> None:
    loss = classification_loss(LOGITS, ONE_HOT, replace(CONFIG, label_smoothing=smoothing))
    torch.testing.assert_close(
        loss, functional.cross_entropy(LOGITS, POSITIONS, label_smoothing=smoothing)
    )


def test_focal_loss_without_gamma_is_cross_entropy_and_down_weights_easy_examples() -> None:
    def focal(gamma: float, logits: torch.Tensor, targets: torch.Tensor) -> float:
        return float(
            classification_loss(logits, targets, replace(CONFIG, loss="focal", focal_gamma=gamma))
        )

    assert focal(0, LOGITS, ONE_HOT) == pytest.approx(
        float(functional.cross_entropy(LOGITS, POSITIONS)), rel=1e-5
    )
    easy, hard = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.1, 0.0]])
    target = torch.tensor([[1.0, 0.0]])
    probability = float(easy.softmax(1)[0, 0])
    assert focal(2, easy, target) == pytest.approx(
        (1 - probability) ** 2 * focal(0, easy, target), rel=1e-4
    )
    assert focal(2, easy, target) / focal(0, easy, target) < 0.01
    assert focal(2, hard, target) / focal(0, hard, target) > 0.2


def test_bce_matches_pytorch_summed_over_the_labels() -> None:
    targets = LABEL_MATRIX.float()
    expected = functional.binary_cross_entropy_with_logits(LOGITS, targets, reduction="none")
    loss = classification_loss(LOGITS, targets, replace(CONFIG, loss="bce"))
    torch.testing.assert_close(loss, expected.sum(dim=1).mean())


def test_label_weights_match_pytorch() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    loss = classification_loss(LOGITS, ONE_HOT, CONFIG, weights)
    expected = functional.cross_entropy(LOGITS, POSITIONS, weight=weights, reduction="none")
    torch.testing.assert_close(loss, expected.mean())


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "bce"])
def test_losses_of_low_precision_are_computed_in_float32(loss: Loss) -> None:
    config = replace(CONFIG, loss=loss)
    assert classification_loss(LOGITS.bfloat16(), ONE_HOT, config).dtype == torch.float32
    assert comparison_loss(LOGITS.bfloat16(), ONE_HOT, loss).dtype == torch.float32


def test_correct_predictions_match_the_released_model() -> None:
    for loss, kind, label_matrix in (
        ("cross-entropy", "softmax", ONE_HOT > 0),
        ("bce", "sigmoid", LABEL_MATRIX),
    ):
        scores = (LOGITS.sigmoid() if kind == "sigmoid" else LOGITS.softmax(1)).numpy()
        predicted = predicted_label_mask(scores, kind)  # type: ignore[arg-type]
        expected = (predicted == label_matrix.numpy()).all(axis=1)
        correct = correct_predictions(LOGITS, label_matrix.float(), loss)  # type: ignore[arg-type]
        assert correct.tolist() == expected.tolist()
        assert 0 < expected.sum() < len(expected)


def test_class_weights_match_scikit_learn() -> None:
    targets = torch.tensor([0] * 50 + [1] * 8 + [2] * 2)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets.numpy())
    torch.testing.assert_close(class_weights(targets, 3).double(), torch.from_numpy(expected))
    rows = functional.one_hot(targets, 3).bool()
    torch.testing.assert_close(class_weights(rows, 3), class_weights(targets, 3))
    torch.testing.assert_close(positive_weights(rows, 3), torch.tensor([10 / 50, 52 / 8, 58 / 2]))


def test_balanced_sampling_reads_all_labels_equally_and_negatives_as_one_more() -> None:
    targets = torch.tensor([0] * 900 + [1] * 90 + [2] * 9 + [-1] * 300)
    sampler = EpochSampler(torch.arange(len(targets)), sampling_weights(targets, 3))
    read = targets[torch.cat([sampler.shuffled(seed) for seed in range(20)])]
    shares = torch.bincount(read + 1, minlength=4) / len(read)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.02, rtol=0)
    assert torch.equal(sampler.shuffled(5), sampler.shuffled(5))


def test_multi_label_clip_is_sampled_by_its_rarest_label() -> None:
    targets = torch.tensor([[True, False]] * 8 + [[True, True]] * 2)
    weights = sampling_weights(targets, 2)
    assert weights.tolist() == pytest.approx([1 / 10] * 8 + [1 / 2] * 2)
