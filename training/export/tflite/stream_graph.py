"""One step of a stream: a frame of features and a state in, scores and the next state out."""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.models.layers.normalise import WaveformClassifier
from earful.models.networks.causal_tcresnet import CausalTcResNet
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.export.tflite.tflite_model import NEXT


class StreamGraph(ExportGraph):
    """A frame of normalised features (1, bins, 1) and a state to scores (1, labels) and a state.

    Raises:
        TfliteError: the network looks ahead.
    """

    def __init__(self, model: WaveformClassifier) -> None:
        super().__init__(model, features_outside=True)
        network = model.classifier.network
        if not isinstance(network, CausalTcResNet):
            raise TfliteError(
                "--stream is for networks that never look ahead: train with "
                "--model tcresnet-causal, or leave it out"
            )
        self.model = self.scores.model
        self.network = cast("CausalTcResNet", self.scores.network)

    def forward(self, features: Tensor, *state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Scores (1, labels), and the tensors of the next state."""
        embedding, following = self.network.step(features, list(state))
        return self.model.to_probabilities(embedding), *following

    def examples(self) -> tuple[Tensor, ...]:
        return torch.zeros(1, self.network.bins, 1), *self.network.first_state()

    def describe(self) -> dict[str, Any]:
        """The state's tensors: each has one value everywhere before the first frame."""
        state = self.first_state().items()
        return {
            "state": [
                {"name": name, "shape": list(part.shape), "first": float(part.flat[0])}
                for name, part in state
            ]
        }

    @property
    def input_names(self) -> list[str]:
        return ["features", *self.first_state()]

    @property
    def output_names(self) -> list[str]:
        return ["scores", *(f"{NEXT}{name}" for name in self.first_state())]

    def first_state(self) -> dict[str, NDArray[np.float32]]:
        """The state before the first frame, by the names of its tensors."""
        return {f"state_{n}": part.numpy() for n, part in enumerate(self.network.first_state())}
