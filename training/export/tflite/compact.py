"""Names of a converted graph: short ones, since the converter's are most of a small file."""

from collections.abc import Iterable, Mapping
from typing import Any


def shorten_names(content: bytes, input_name: str, output_name: str) -> bytes:
    """The same TFLite model with short names of tensors, and these of its input and output.

    The converter names each tensor by the modules it comes from: 85 of the 145 kB of an INT8
    ``bcresnet``.
    """
    from ai_edge_litert.tools import flatbuffer_utils  # noqa: PLC0415

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    [graph] = model.subgraphs
    [signature] = model.signatureDefs
    for number, tensor in enumerate(graph.tensors):
        tensor.name = str(number).encode()
    _rename(graph.tensors, signature.inputs, input_name)
    _rename(graph.tensors, signature.outputs, output_name)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _rename(tensors: Mapping[int, Any], mapped: Iterable[Any], name: str) -> None:
    [entry] = mapped
    entry.name = tensors[entry.tensorIndex].name = name.encode()
