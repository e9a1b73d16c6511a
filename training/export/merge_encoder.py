"""One ONNX graph of an encoder file of the user's and the head that was trained on it."""

import onnx
import onnx.compose
import onnx.version_converter
from onnx import ModelProto

from earful.data.errors import EarfulError
from earful.models.layers.onnx_encoder import OnnxEncoder, read_encoder

_PREFIX = "encoder/"


def merge_encoder(encoder: OnnxEncoder, head: ModelProto, opset: int) -> ModelProto:
    """``waveform`` to the outputs of ``head``, whose input is ``vectors`` (batch, frames, dim).

    Raises:
        EarfulError: the file cannot be converted to ``opset``, or cannot be merged.
    """
    try:
        model = onnx.load_from_string(read_encoder(encoder.path))
        model = onnx.compose.add_prefix(_to_opset(model, opset), _PREFIX)
        model.ir_version = head.ir_version
        merged = onnx.compose.merge_models(
            model, head, io_map=[(_PREFIX + encoder.output_name, "vectors")]
        )
        graph = _rename_input(merged, _PREFIX + encoder.input_name, "waveform")
        onnx.checker.check_model(graph)
    except (ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:200]
        raise EarfulError(
            f"{encoder.path} cannot be put into one file with its head: {reason}; export the "
            f"encoder again with opset {opset}"
        ) from error
    return graph


def _to_opset(model: ModelProto, opset: int) -> ModelProto:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if versions == [opset]:
        return model
    return onnx.version_converter.convert_version(model, opset)


def _rename_input(model: ModelProto, old: str, new: str) -> ModelProto:
    for node in model.graph.node:
        for number, name in enumerate(node.input):
            if name == old:
                node.input[number] = new
    for value in model.graph.input:
        if value.name == old:
            value.name = new
    return model
