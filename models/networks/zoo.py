"""The networks by name. A plain table: a dozen networks need no registry."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.errors import EarfulError, did_you_mean
from earful.data.features.kinds import PREPARED_KINDS, FeatureKind
from earful.models.layers.base import Network
from earful.models.networks.autoencoder import Autoencoder, AutoencoderConfig
from earful.models.networks.baselines.fitted import FittedModule
from earful.models.networks.baselines.gmm_hmm import GmmHmm, GmmHmmConfig
from earful.models.networks.baselines.logistic import Logistic, LogisticConfig
from earful.models.networks.baselines.majority import Majority, MajorityConfig
from earful.models.networks.baselines.random_forest import RandomForest, RandomForestConfig
from earful.models.networks.baselines.svm import Svm, SvmConfig
from earful.models.networks.bcresnet import BcResNet, BcResNetConfig
from earful.models.networks.causal_tcresnet import CausalTcResNet, CausalTcResNetConfig
from earful.models.networks.cnn import Cnn, CnnConfig
from earful.models.networks.convrnn import ConvRnn, ConvRnnConfig
from earful.models.networks.crnn import Crnn, CrnnConfig
from earful.models.networks.encoder import (
    SPEECH,
    EncoderConfig,
    FinetunedConfig,
    FinetunedEncoder,
    FrozenEncoder,
)
from earful.models.networks.mlp import Mlp, MlpConfig
from earful.models.networks.tcresnet import TcResNet, TcResNetConfig

NetworkTask = Literal["classification", "reconstruction"]


@dataclass(frozen=True)
class ZooEntry:
    """A network, its config dataclass, and its task: classify, or reconstruct its input.

    Networks with ``fitted`` are not trained by gradient descent but fitted by
    ``training.baselines``. ``own_input``: it takes the input of a pretrained encoder, not MFCC or
    log-mel.
    """

    network: Callable[[int, int, int, Any], Network]
    config: type
    task: NetworkTask = "classification"
    fitted: bool = False
    own_input: bool = False


ZOO: dict[str, ZooEntry] = {
    "cnn": ZooEntry(Cnn, CnnConfig),
    "crnn": ZooEntry(Crnn, CrnnConfig),
    "bcresnet": ZooEntry(BcResNet, BcResNetConfig),
    "tcresnet": ZooEntry(TcResNet, TcResNetConfig),
    "tcresnet-causal": ZooEntry(CausalTcResNet, CausalTcResNetConfig),
    "encoder": ZooEntry(FrozenEncoder, EncoderConfig, fitted=True, own_input=True),
    "encoder-finetuned": ZooEntry(FinetunedEncoder, FinetunedConfig, own_input=True),
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
    """Look up a network by name.

    Raises:
        EarfulError: there is no network of this name; the message lists all names.
    """
    if name not in ZOO:
        raise EarfulError(
            f"there is no network {name!r}{did_you_mean(name, ZOO)}; choose from {', '.join(ZOO)}"
        )
    return ZOO[name]


def input_kinds(name: str, options: Mapping[str, Any]) -> tuple[FeatureKind, ...]:
    """The kinds of features that a network can take; one for an encoder.

    Raises:
        EarfulError: there is no network of this name.
    """
    if not zoo_entry(name).own_input:
        return PREPARED_KINDS
    return ("encoder",) if options.get("encoder", SPEECH) == SPEECH else ("waveform",)


def require_classifier(name: str) -> None:
    """Refuse a network that is not a classifier.

    Raises:
        EarfulError: the network is unknown or not a classifier.
    """
    if zoo_entry(name).task != "classification":
        raise EarfulError(
            f"{name} is not a classifier; choose from {', '.join(CLASSIFIER_NETWORKS)}"
        )


def require_gradient_training(name: str) -> None:
    """Refuse a network that is fitted instead of trained by gradient descent.

    Raises:
        EarfulError: the network is unknown or fitted.
    """
    if zoo_entry(name).fitted:
        trainable = ", ".join(other for other, candidate in ZOO.items() if not candidate.fitted)
        raise EarfulError(
            f"{name} is fitted, not trained by gradient descent; choose from {trainable}"
        )


def build_network(
    name: str, bins: int, frames: int, n_labels: int, options: Mapping[str, Any]
) -> Network:
    """A freshly initialised network for features (batch, bins, frames).

    Raises:
        EarfulError: an unknown network or option, an invalid value, or features too small.
    """
    return zoo_entry(name).network(bins, frames, n_labels, check_options(name, options))


def check_options(name: str, options: Mapping[str, Any]) -> Any:
    """The options of a network as its config dataclass.

    Raises:
        EarfulError: an unknown network or option, or an invalid value.
    """
    network_entry = zoo_entry(name)
    known = {field.name for field in dataclasses.fields(network_entry.config)}
    unknown = sorted(set(options) - known)
    if unknown:
        has = ", ".join(sorted(known)) or "none"
        raise EarfulError(f"{name} has no option {', '.join(unknown)}; it has {has}")
    return network_entry.config(**options)


def parameter_count(network: Network) -> int:
    """The number of learnt values: trainable parameters and fitted buffers."""
    trainable = sum(parameter.numel() for parameter in network.parameters())
    return trainable + sum(
        module.n_fitted() for module in network.modules() if isinstance(module, FittedModule)
    )
