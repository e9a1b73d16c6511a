"""Who draws the settings of trials: trial ``n`` by (seed, n) and the trials before it."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

# Seeds of searches lie so far apart, so that their trials do not draw the same.
_APART = 100_003
# TPE's own random numbers take a seed of 32 bits.
_SEEDS = 2**32


class SamplerByNumber(BaseSampler):
    """TPE that begins anew with each trial, by its number, whoever makes it.

    Two processes must not draw the same, and a search that goes on must draw what it would have
    drawn (Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = TPESampler(seed=seed % _SEEDS)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._tpe = TPESampler(seed=seed_of(self._seed, trial.number))
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


def seed_of(seed: int, number: int) -> int:
    """The seed of a trial, for any seed that a run can have."""
    return (seed * _APART + number) % _SEEDS
