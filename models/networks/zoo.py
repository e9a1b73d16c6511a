"""The networks by name. A plain table: a dozen networks need no registry."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.networks.autoencoder import Autoencoder, AutoencoderConfig
from earful.models.networks.baselines.fitted import FittedModule
from earful.models.networks.baselines.gmm_hmm import GmmHmm, GmmHmmConfig
from earful.models.networks.baselines.logistic import Logistic, LogisticConfig
from earful.models.networks.baselines.majority import Majority, MajorityConfig
from earful.models.networks.baselines.random_forest import RandomForest, RandomForestConfig
from earful.models.networks.baselines.svm import Svm, SvmConfig
from earful.models.networks.bcresnet import BcResNet, BcResNetConfig
from earful.models.networks.cnn import Cnn, CnnConfig
from earful.models.networks.convrnn import ConvRnn, ConvRnnConfig
from earful.models.networks.crnn import Crnn, CrnnConfig
from earful.models.networks.mlp import Mlp, MlpConfig
from earful.models.networks.tcresnet import TcResNet, TcResNetConfig

NetworkTask = Literal["classification", "reconstruction"]


@dataclass(frozen=True)
class ZooEntry:
    """A network, its options, and what it is trained for: to name labels, or to give back.

    One that is ``fitted`` is not trained by gradients but by ``training.baselines``.
    """

    network: Callable[[int, int, int, Any], Network]
    config: type
    task: NetworkTask = "classification"
    fitted: bool = False


ZOO: dict[str, ZooEntry] = {
    "cnn": ZooEntry(Cnn, CnnConfig),
    "crnn": ZooEntry(Crnn, CrnnConfig),
    "bcresnet": ZooEntry(BcResNet, BcResNetConfig),
    "tcresnet": ZooEntry(TcResNet, TcResNetConfig),
    "convrnn": ZooEntry(ConvRnn, ConvRnnConfig),
    "mlp": ZooEntry(Mlp, MlpConfig),
    "majority": ZooEntry(Majority, MajorityConfig, fitted=True),
    "logistic": ZooEntry(Logistic, LogisticConfig, fitted=True),
    "random-forest": ZooEntry(RandomForest, RandomForestConfig, fitted=True),
    "svm": ZooEntry(Svm, SvmConfig, fitted=True),
    "gmm-hmm": ZooEntry(GmmHmm, GmmHmmConfig, fitted=True),
    "autoencoder": ZooEntry(Autoencoder, AutoencoderConfig, "reconstruction"),
}
FITTED_NETWORKS = tuple(name for name, candidate in ZOO.items() if candidate.fitted)
CLASSIFIER_NETWORKS = tuple(
    name for name, candidate in ZOO.items() if candidate.task == "classification"
)


def zoo_entry(name: str) -> ZooEntry:
    """Look a network up.

    Raises:
        EarfulError: no network of this name; the message lists those there are.
    """
    if name not in ZOO:
        raise EarfulError(f"no network is called {name!r}; there are {', '.join(ZOO)}")
    return ZOO[name]


def require_classifier(name: str) -> None:
    """Refuse a network that names no labels.

    Raises:
        EarfulError: there is no such network, or it is none that classifies.
    """
    if zoo_entry(name).task != "classification":
        raise EarfulError(
            f"{name} names no labels; this needs one that does: {', '.join(CLASSIFIER_NETWORKS)}"
        )


def require_gradient_training(name: str) -> None:
    """Refuse what is fitted and not trained by steps.

    Raises:
        EarfulError: there is no such network, or it is fitted.
    """
    if zoo_entry(name).fitted:
        networks = ", ".join(other for other, candidate in ZOO.items() if not candidate.fitted)
        raise EarfulError(
            f"{name} is fitted and not trained by steps; this needs one that is, and networks are: "
            f"{networks}"
        )


def build_network(
    name: str, bins: int, frames: int, n_labels: int, options: Mapping[str, Any]
) -> Network:
    """A freshly initialised network for features (batch, bins, frames).

    Raises:
        EarfulError: an unknown network, an option that it does not have, or features too small.
    """
    return zoo_entry(name).network(bins, frames, n_labels, check_options(name, options))


def check_options(name: str, options: Mapping[str, Any]) -> Any:
    """The options of a network as its own dataclass has them.

    Raises:
        EarfulError: an unknown network, an option that it does not have, or a value that it
            cannot have.
    """
    network_entry = zoo_entry(name)
    known = {field.name for field in dataclasses.fields(network_entry.config)}
    unknown = sorted(set(options) - known)
    if unknown:
        has = ", ".join(sorted(known)) or "none"
        raise EarfulError(f"{name} has no option {', '.join(unknown)}; it has {has}")
    return network_entry.config(**options)


def parameter_count(network: Network) -> int:
    """Numbers that were learnt: parameters, and what a fit found."""
    learnt = sum(parameter.numel() for parameter in network.parameters())
    return learnt + sum(
        module.n_fitted() for module in network.modules() if isinstance(module, FittedModule)
    )
