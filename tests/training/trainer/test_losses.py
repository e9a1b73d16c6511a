"""The losses against PyTorch's own, and who counts as answered rightly."""

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
    found = classification_loss(LOGITS, ONE_HOT, replace(CONFIG, label_smoothing=smoothing))
    torch.testing.assert_close(
        found, functional.cross_entropy(LOGITS, POSITIONS, label_smoothing=smoothing)
    )


def test_focal_loss_without_gamma_is_cross_entropy_and_down_weights_easy_examples() -> None:
    def focal(gamma: float, logits: torch.Tensor, targets: torch.Tensor) -> float:
        return float(
            classification_loss(logits, targets, replace(CONFIG, loss="focal", focal_gamma=gamma))
        )

    assert focal(0, LOGITS, ONE_HOT) == pytest.approx(
        float(functional.cross_entropy(LOGITS, POSITIONS)), rel=1e-5
    )
    sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.1, 0.0]])
    target = torch.tensor([[1.0, 0.0]])
    chance = float(sure.softmax(1)[0, 0])
    assert focal(2, sure, target) == pytest.approx(
        (1 - chance) ** 2 * focal(0, sure, target), rel=1e-4
    )
    assert focal(2, sure, target) / focal(0, sure, target) < 0.01
    assert focal(2, unsure, target) / focal(0, unsure, target) > 0.2


def test_bce_matches_pytorch_summed_over_the_labels() -> None:
    held = LABEL_MATRIX.float()
    expected = functional.binary_cross_entropy_with_logits(LOGITS, held, reduction="none")
    found = classification_loss(LOGITS, held, replace(CONFIG, loss="bce"))
    torch.testing.assert_close(found, expected.sum(dim=1).mean())


def test_label_weights_match_pytorch() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    found = classification_loss(LOGITS, ONE_HOT, CONFIG, weights)
    one_by_one = functional.cross_entropy(LOGITS, POSITIONS, weight=weights, reduction="none")
    torch.testing.assert_close(found, one_by_one.mean())


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "bce"])
def test_losses_of_low_precision_are_computed_in_float32(loss: Loss) -> None:
    config = replace(CONFIG, loss=loss)
    found = classification_loss(LOGITS.bfloat16(), ONE_HOT, config)
    assert found.dtype == torch.float32
    assert comparison_loss(LOGITS.bfloat16(), ONE_HOT, loss).dtype == torch.float32


def test_correct_predictions_match_the_released_model() -> None:
    for loss, kind, held in (("cross-entropy", "softmax", ONE_HOT > 0), ("bce", "sigmoid", LABEL_MATRIX)):
        scores = (LOGITS.sigmoid() if kind == "sigmoid" else LOGITS.softmax(1)).numpy()
        decided = predicted_label_mask(scores, kind)  # type: ignore[arg-type]
        expected = (decided == held.numpy()).all(axis=1)
        assert correct_predictions(LOGITS, held.float(), loss).tolist() == expected.tolist()  # type: ignore[arg-type]
        assert 0 < expected.sum() < len(expected)


def test_class_weights_match_scikit_learn() -> None:
    held = torch.tensor([0] * 50 + [1] * 8 + [2] * 2)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=held.numpy())
    torch.testing.assert_close(class_weights(held, 3).double(), torch.from_numpy(expected))
    rows = functional.one_hot(held, 3).bool()
    torch.testing.assert_close(class_weights(rows, 3), class_weights(held, 3))
    torch.testing.assert_close(positive_weights(rows, 3), torch.tensor([10 / 50, 52 / 8, 58 / 2]))


def test_balanced_sampling_reads_all_labels_equally_and_negatives_as_one_more() -> None:
    held = torch.tensor([0] * 900 + [1] * 90 + [2] * 9 + [-1] * 300)
    epoch = EpochSampler(torch.arange(len(held)), sampling_weights(held, 3))
    read = held[torch.cat([epoch.shuffled(seed) for seed in range(20)])]
    shares = torch.bincount(read + 1, minlength=4) / len(read)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.02, rtol=0)
    assert torch.equal(epoch.shuffled(5), epoch.shuffled(5))


def test_multi_label_clip_is_sampled_by_its_rarest_label() -> None:
    held = torch.tensor([[True, False]] * 8 + [[True, True]] * 2)
    weights = sampling_weights(held, 2)
    assert weights.tolist() == pytest.approx([1 / 10] * 8 + [1 / 2] * 2)
