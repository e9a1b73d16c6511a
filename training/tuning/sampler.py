"""Optuna sampler: trial ``n`` depends only on (seed, n) and the earlier trials."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

# Distance between the seeds of searches, so that their trials do not share seeds.
_SEED_STRIDE = 100_003
# TPESampler takes 32-bit seeds.
_SEED_RANGE = 2**32


class PerTrialTPESampler(BaseSampler):
    """TPE (Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011), reseeded per trial.

    Parallel processes draw different settings, and a resumed search draws the same settings as an
    uninterrupted one.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = TPESampler(seed=seed % _SEED_RANGE)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._tpe = TPESampler(seed=trial_seed(self._seed, trial.number))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, for any valid seed of a run."""
    return (seed * _SEED_STRIDE + number) % _SEED_RANGE
