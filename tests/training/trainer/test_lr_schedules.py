"""Learning rate schedules."""

from dataclasses import replace

import pytest

from earful.training.config.train_config import TrainConfig
from earful.training.trainer.lr_schedules import learning_rate

BASE = TrainConfig(learning_rate=0.4, epochs=20)


def rates(**changes: object) -> list[float]:
    """The learning rate of every step of a run with five batches an epoch."""
    config = replace(BASE, **changes)  # type: ignore[arg-type]
    return [learning_rate(config, step, 5, []) for step in range(1, 5 * config.epochs + 1)]


def test_a_constant_rate_is_constant() -> None:
    assert set(rates()) == {0.4}


def test_steps_fall_after_whole_epochs() -> None:
    schedule = rates(schedule="step", schedule_epochs=8, schedule_factor=0.1)
    assert schedule[39] == 0.4
    assert schedule[40] == pytest.approx(0.04)
    assert schedule[-1] == pytest.approx(0.004)


def test_plateau_halves_after_schedule_epochs_without_a_lower_loss() -> None:
    def rate(*losses: float) -> float:
        config = replace(BASE, schedule="plateau", schedule_epochs=2)
        return learning_rate(config, 1, 5, losses)

    assert rate() == rate(1.0) == rate(1.0, 1.1) == 0.4
    assert rate(1.0, 1.1, 1.0) == 0.2  # equal is not lower
    assert rate(1.0, 1.1, 0.9, 1.0) == 0.4
    assert rate(1.0, 1.1, 1.1, 1.1, 1.1) == 0.1
    assert rate(1.0, 1.1, 1.1, 0.5, 0.4) == 0.2


def test_a_cosine_falls_from_the_peak_to_almost_nothing() -> None:
    schedule = rates(schedule="cosine")
    assert schedule[0] == 0.4
    assert schedule[50] == pytest.approx(0.2)
    assert 0 < schedule[-1] < 0.001
    assert schedule == sorted(schedule, reverse=True)


def test_one_cycle_rises_for_15_percent_of_the_steps_and_falls() -> None:
    schedule = rates(schedule="one-cycle")
    assert max(schedule) == schedule[14] == pytest.approx(0.4)
    assert schedule[0] < 0.4 / 10
    assert schedule[-1] < 1e-4
