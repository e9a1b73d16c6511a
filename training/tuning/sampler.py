"""Optuna sampler: trial ``n`` depends only on (seed, n) and the earlier trials."""

from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

# Distance between the seeds of searches, so that their trials do not share seeds.
_SEED_STRIDE = 100_003
# TPESampler takes 32-bit seeds.
_SEED_RANGE = 2**32


class PerTrialTPESampler(TPESampler):
    """TPE (Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011), reseeded per trial.

    Parallel processes draw different settings, and a resumed search draws the same settings as an
    uninterrupted one.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed % _SEED_RANGE)
        self._search_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # Nothing of earlier trials is kept: those of the study are read again.
        TPESampler.__init__(self, seed=trial_seed(self._search_seed, trial.number))
        super().before_trial(study, trial)


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, for any valid seed of a run."""
    return (seed * _SEED_STRIDE + number) % _SEED_RANGE
