"""Opens the class activation map of a released model: which part of a clip spoke for which label.

"Learning Deep Features for Discriminative Localization" (Zhou et al., arXiv:1512.04150). A model
file has the two outputs ``probabilities`` and ``embedding`` and no other. The nodes of the map are
in its metadata, so they cost nothing until somebody asks for a map; then they are added in memory.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.activation_map import ActivationMapInfo
from earful.models.bundle.bundle import open_session
from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelError
from earful.models.bundle.runtime import ORT_ERRORS, error_line
from earful.models.bundle.session_calls import run_session

# The number of the field ModelProto.graph in onnx.proto, and the wire type of messages.
_GRAPH, _LENGTH_DELIMITED = 7, 2


class MapSession:
    """The maps of one model file, of which ``model`` are the bytes. Safe to use in several threads.

    Raises:
        ModelError: the nodes in the metadata do not fit the graph; ``path`` is only named.
    """

    def __init__(self, model: bytes, info: ActivationMapInfo, device: Device, path: Path) -> None:
        self.info, self._path = info, path
        self._session = open_session(_with_graph(model, info.graph), device, path)
        if info.tensor not in [output.name for output in self._session.get_outputs()]:
            raise ModelError(f"{path} has metadata of an activation map and no {info.tensor}")

    def run(self, clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (batch, labels, rows, columns) of clips (batch, clip_samples).

        Raises:
            ModelError: the graph cannot compute them.
        """
        try:
            [maps] = run_session(self._session, [self.info.tensor], {"waveform": clips}, self._path)
        except ORT_ERRORS as error:
            raise ModelError(
                f"{self._path} fails to compute its map: {error_line(error)}"
            ) from error
        maps = np.asarray(maps, np.float32)
        if maps.ndim != 4 or len(maps) != len(clips) or not np.isfinite(maps).all():
            raise ModelError(
                f"{self._path} gives a map of shape {maps.shape}, or values not finite"
            )
        return maps


def _with_graph(model: bytes, graph: bytes) -> bytes:
    """A serialised model with the nodes, initialisers and outputs of a second graph added.

    Parsers of protobuf merge a message that comes twice, and join its repeated fields (Protocol
    Buffers, "Encoding", section "Last One Wins").
    """
    return model + _varint(_GRAPH << 3 | _LENGTH_DELIMITED) + _varint(len(graph)) + graph


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
