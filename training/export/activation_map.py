"""The class activation map of an exported model: its nodes, kept apart from the graph."""

from typing import cast

import onnx
import torch
from torch import nn

from earful.models.bundle.activation_map import ActivationMapInfo, MapAxis
from earful.models.layers.base import PooledNetwork
from earful.models.layers.normalise import WaveformClassifier

MAP = "activation_map"


class MapClassifier(nn.Module):
    """Waveforms (batch, clip_samples) to probabilities, embedding and map, traced as one graph.

    Only of a model whose network is a ``PooledNetwork``.
    """

    def __init__(self, model: WaveformClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The third is (batch, labels, rows, frames), as of ``PooledNetwork.class_map``."""
        classifier = self.model.classifier
        network = cast("PooledNetwork", classifier.network)
        feature_map = network.feature_map(classifier.normalise(self.model.extractor(waveform)))
        embedding = network.pool(feature_map)
        probabilities = self.model.to_probabilities(embedding)
        return probabilities, embedding, network.class_map(feature_map)


def split_map(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.GraphProto]:
    """Split a graph with the output ``activation_map`` into the model without, and the rest.

    The rest is what only the map needs: nodes, initialisers and the output itself.
    """
    graph, rest = model.graph, onnx.GraphProto()
    outputs = [value for value in graph.output if value.name != MAP]
    rest.output.extend(value for value in graph.output if value.name == MAP)
    needed = {value.name for value in outputs}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            rest.node.insert(0, node)
        else:
            nodes.insert(0, node)
            needed.update(node.input)
    rest.initializer.extend(i for i in graph.initializer if i.name not in needed)
    initializers = [i for i in graph.initializer if i.name in needed]
    computed = {name for node in rest.node for name in node.output}
    values = [value for value in graph.value_info if value.name not in computed]
    for field, kept in (
        (graph.output, outputs),
        (graph.node, nodes),
        (graph.initializer, initializers),
        (graph.value_info, values),
    ):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(copies)
    return model, rest


def activation_map_info(model: WaveformClassifier, graph: onnx.GraphProto) -> ActivationMapInfo:
    """The metadata of the map that ``graph`` computes."""
    config = model.extractor.config
    frame_seconds = config.hop_length / config.sample_rate_hz  # frames are centred on their hops
    axes = cast("PooledNetwork", model.classifier.network).axes
    return ActivationMapInfo(
        tensor=MAP,
        graph=graph.SerializeToString(),
        seconds=MapAxis(axes.frames.first * frame_seconds, axes.frames.step * frame_seconds),
        bins=axes.bins if model.extractor.kind == "log_mel" else None,
    )
