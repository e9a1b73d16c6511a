"""Which networks take part in a contest: what is cheap and fits the data."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import F_MAX_HZ
from earful.data.features.kinds import FeatureKind
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.loaders.auxiliary_data import AuxiliaryData

# Networks that are trained by gradient descent need this many training clips, of each label too.
MIN_CLIPS, MIN_CLIPS_PER_LABEL = 500, 25
# Larger contests take minutes and choose no better.
MAX_TRAINING_CLIPS = 6_000
# svm compares all pairs of clips.
MAX_SVM_CLIPS = 5_000
# Epochs of a contest; the winner is then trained in full.
_SHORT_EPOCHS = {"tcresnet": 10, "encoder-finetuned": 4}


@dataclass(frozen=True)
class Contender:
    """A network with the settings that it has in the contest."""

    model: str
    config: TrainConfig


@dataclass(frozen=True)
class Contenders:
    """Who takes part, cheapest first, and why others do not."""

    networks: tuple[Contender, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Conditions:
    """What decides who takes part."""

    n_clips: int
    least_per_label: int
    sample_rate_hz: int
    n_targets: int  # 1: each clip has one label
    features: FeatureKind | None
    in_folds: bool


def choose_contenders(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    *,
    seed: int,
    features: FeatureKind | None,
    in_folds: bool,
) -> Contenders:
    """The networks that fit a dataset; ``features`` restricts them to those that take this kind.

    ``in_folds``: there are too few validation clips, so each network is trained several times.
    """
    train = dataset.rows("train")
    conditions = _Conditions(
        n_clips=len(train),
        least_per_label=int(dataset.label_matrix[train].sum(axis=0).min()),
        sample_rate_hz=dataset.features.sample_rate_hz,
        n_targets=2 if dataset.is_multi_label or auxiliary.negatives else 1,
        features=features,
        in_folds=in_folds,
    )
    networks, left_out = [], []
    for model, reason in _REASONS.items():
        why_not = reason(conditions)
        if why_not is None:
            networks.append(Contender(model, _short_config(model, seed, features, dataset)))
        else:
            left_out.append(f"{model}: {why_not}")
    return Contenders(tuple(networks), tuple(left_out))


def _short_config(
    model: str, seed: int, features: FeatureKind | None, dataset: Dataset
) -> TrainConfig:
    base = default_config(model)
    config = replace(base, seed=seed, epochs=_SHORT_EPOCHS.get(model, base.epochs))
    if features is not None:
        config = replace(config, features=features)
    if dataset.is_multi_label:
        config = replace(config, loss="bce")
    return config


def _any_of(*reasons: Callable[[_Conditions], str | None]) -> Callable[[_Conditions], str | None]:
    """The first reason against a network; None if there is none."""

    def first(conditions: _Conditions) -> str | None:
        return next((why for reason in reasons if (why := reason(conditions)) is not None), None)

    return first


def _one_label_each(conditions: _Conditions) -> str | None:
    if conditions.n_targets == 1:
        return None
    return "it learns from clips with one label each, without negatives"


def _speech_rate(conditions: _Conditions) -> str | None:
    if conditions.features is not None:
        return f"it has its own front end, and --features {conditions.features} was given"
    if conditions.sample_rate_hz >= 2 * F_MAX_HZ:
        return None
    return f"it needs {2 * F_MAX_HZ:g} Hz or more, the dataset has {conditions.sample_rate_hz}"


def _at_most(limit: int) -> Callable[[_Conditions], str | None]:
    def reason(conditions: _Conditions) -> str | None:
        if conditions.n_clips <= limit:
            return None
        return f"it takes at most {limit:,} clips, there are {conditions.n_clips:,}"

    return reason


def _enough_clips(conditions: _Conditions) -> str | None:
    if conditions.in_folds:
        return "there are too few validation clips to judge it by"
    if conditions.n_clips < MIN_CLIPS:
        return f"it needs {MIN_CLIPS} training clips or more, there are {conditions.n_clips}"
    if conditions.least_per_label < MIN_CLIPS_PER_LABEL:
        return (
            f"it needs {MIN_CLIPS_PER_LABEL} training clips of each label or more, one has "
            f"{conditions.least_per_label}"
        )
    return None


# Cheapest first: of equally good networks the first wins.
_REASONS: dict[str, Callable[[_Conditions], str | None]] = {
    "logistic": _any_of(_one_label_each, _at_most(20_000)),
    "svm": _any_of(_one_label_each, _at_most(MAX_SVM_CLIPS)),
    "encoder": _speech_rate,
    "tcresnet": _enough_clips,
    "encoder-finetuned": _any_of(_speech_rate, _enough_clips),
}
