"""Networks with options, all norms and activations, and baselines give the same in ONNX Runtime.

All in one graph, since running the exporter a dozen times takes a minute.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earful.data.dataset.dataset import Dataset
from earful.data.features.encoder_config import feature_shape
from earful.models.bundle.bundle import open_session
from earful.models.layers.base import Network
from earful.models.layers.blocks import Activation, Normalisation, activation, normalisation
from earful.models.networks.zoo import build_network
from earful.training.baselines.fit import fit_baseline
from earful.training.config.train_config import default_config
from earful.training.export.export import OPSET, PARITY_BATCHES

pytestmark = pytest.mark.slow

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("cnn", {"norm": "group", "activation": "prelu"}),
    ("convrnn", {"layers": 2}),
    ("mlp", {"layers": 2, "norm": "batch", "activation": "elu"}),
]
# gmm-hmm is exported in baselines/test_fit_baseline.py, crnn in test_export_and_evaluate.py.
BASELINES = ("majority", "logistic", "random-forest", "svm")
CHANNELS = 6


class AllLayers(nn.Module):
    """All norms (in 1D and 2D) and activations over features (batch, bins, frames)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.conv1d, self.conv2d = nn.Conv1d(bins, CHANNELS, 3), nn.Conv2d(1, CHANNELS, 3, stride=4)
        names = [name for name in get_args(Normalisation) if name != "none"]
        self.norms = nn.ModuleDict(
            {
                f"{name}{axes}": normalisation(name, CHANNELS, axes) or nn.Identity()
                for name in names
                for axes in (1, 2)
            }
        )
        self.activations = nn.ModuleList(activation(name) for name in get_args(Activation))

    def forward(self, features: Tensor) -> Tensor:
        inputs = {"1": self.conv1d(features), "2": self.conv2d(features.unsqueeze(1))}
        outputs = [norm(inputs[name[-1]]) for name, norm in self.norms.items()]
        outputs += [act(inputs["1"]) for act in self.activations]
        return torch.cat([x.flatten(1) for x in outputs], dim=1)


class CombinedNetwork(nn.Module):
    """Features to the outputs of all parts."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(features) for part in self.parts.values())


@pytest.fixture(scope="module")
def combined_network(
    short_tones: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> CombinedNetwork:
    torch.manual_seed(1)
    config = short_tones.features
    size = (*feature_shape(config, "mfcc"), len(short_tones.labels))
    parts: dict[str, nn.Module] = {"layers": AllLayers(size[0])}
    for number, (name, options) in enumerate(NETWORKS):
        parts[f"{name}{number}"] = with_running_statistics(
            build_network(name, *size, options), size
        )
    for name in BASELINES:
        folder: Path = tmp_path_factory.mktemp(name)
        parts[name] = fit_baseline(short_tones, folder, default_config(name)).network.network
    return CombinedNetwork(parts).eval()


def with_running_statistics(network: Network, size: tuple[int, int, int]) -> Network:
    """The network with running statistics that differ from those of a new one."""
    for _ in range(3):
        network.train()(2 * torch.randn(8, *size[:2]) + 1)
    return network


# The exporter's dependencies warn of deprecations.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnx_runtime_computes_what_torch_does_at_any_batch_size(
    combined_network: CombinedNetwork,
) -> None:
    size = (40, 32)
    program = torch.onnx.export(
        combined_network,
        (torch.zeros(2, *size),),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=["features"],
        output_names=list(combined_network.parts),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
    )
    assert program is not None
    session = open_session(program.model_proto.SerializeToString(), "cpu", Path("together.onnx"))
    for batch in PARITY_BATCHES:
        x = torch.randn(batch, *size, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = combined_network(x)
        outputs = session.run(None, {"features": x.numpy()})
        for name, onnx, torch_output in zip(combined_network.parts, outputs, expected, strict=True):
            np.testing.assert_allclose(onnx, torch_output, rtol=1e-4, atol=1e-4, err_msg=name)
