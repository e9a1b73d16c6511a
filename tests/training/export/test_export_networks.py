"""Networks with their options, every layer by name, and baselines compute the same in ONNX Runtime.

All in one graph, since an exporter that is started a dozen times takes a minute.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.bundle import open_session
from earful.models.layers.base import Network
from earful.models.layers.blocks import Activation, Normalisation, activation, normalisation
from earful.models.networks.zoo import build_network
from earful.training.baselines.fit import fit_baseline
from earful.training.config.train_config import default_config
from earful.training.export.export import OPSET, PARITY_BATCHES

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("cnn", {"norm": "group", "activation": "prelu"}),
    ("convrnn", {"layers": 2}),
    ("mlp", {"layers": 2, "norm": "batch", "activation": "elu"}),
]
# gmm-hmm is exported whole, with the same comparison, in baselines/test_fit_baseline.py; crnn in
# test_export_and_evaluate.py.
BASELINES = ("majority", "logistic", "random-forest", "svm")
CHANNELS = 6


class AllLayers(nn.Module):
    """Every norm and every activation over features (batch, bins, frames), as images and not."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.read, self.see = nn.Conv1d(bins, CHANNELS, 3), nn.Conv2d(1, CHANNELS, 3, stride=4)
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
        views = {"1": self.read(features), "2": self.see(features.unsqueeze(1))}
        found = [norm(views[name[-1]]) for name, norm in self.norms.items()]
        found += [act(views["1"]) for act in self.activations]
        return torch.cat([x.flatten(1) for x in found], dim=1)


class CombinedNetwork(nn.Module):
    """Features to what each part makes of them."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(features) for part in self.parts.values())


@pytest.fixture(scope="module")
def combined_network(short_tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> CombinedNetwork:
    torch.manual_seed(1)
    config = short_tones.features
    size = (config.bins("mfcc"), config.frames, len(short_tones.labels))
    parts: dict[str, nn.Module] = {"layers": AllLayers(size[0])}
    for number, (name, options) in enumerate(NETWORKS):
        parts[f"{name}{number}"] = with_running_statistics(build_network(name, *size, options), size)
    for name in BASELINES:
        folder: Path = tmp_path_factory.mktemp(name)
        parts[name] = fit_baseline(short_tones, folder, default_config(name)).network.network
    return CombinedNetwork(parts).eval()


def with_running_statistics(network: Network, size: tuple[int, int, int]) -> Network:
    """Running statistics that are not those of a new network."""
    for _ in range(3):
        network.train()(2 * torch.randn(8, *size[:2]) + 1)
    return network


# Of the exporter's own dependencies; what it makes is judged below.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnx_runtime_computes_what_torch_does_at_any_batch_size(combined_network: CombinedNetwork) -> None:
    size = (40, 32)
    program = torch.onnx.export(
        combined_network, (torch.zeros(2, *size),), dynamo=True, verbose=False, opset_version=OPSET,
        input_names=["features"], output_names=list(combined_network.parts),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
    )  # fmt: skip
    assert program is not None
    session = open_session(program.model_proto.SerializeToString(), "cpu", Path("together.onnx"))
    for batch in PARITY_BATCHES:
        x = torch.randn(batch, *size, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = combined_network(x)
        found = session.run(None, {"features": x.numpy()})
        for name, ours, theirs in zip(combined_network.parts, expected, found, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4, err_msg=name)
