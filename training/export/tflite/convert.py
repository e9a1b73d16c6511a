"""PyTorch to TFLite by LiteRT's converter, and float32 to INT8 by its quantiser.

Both are in the dependency group ``tflite``, which brings jax, and are imported when they are used.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.models.networks.zoo import zoo_entry
from earful.training.export.tflite.graphs import ExportGraph, FeatureGraph
from earful.training.export.tflite.native_output import capture_native_output
from earful.training.export.tflite.tflite_error import TfliteError

TESTED_NETWORKS = ("cnn", "bcresnet", "tcresnet")
_SIGNATURE, _INPUT = "serving_default", "args_0"
# Tensors are named by the classes of the modules that they come from.
_ALL, _WITHOUT_FRONT_END = ".*", f"^(?!.*{FeatureGraph.__name__}).*"


def require_tflite() -> None:
    """Check that the converter is installed.

    Raises:
        TfliteError: it is not.
    """
    with capture_native_output():  # it logs as it is imported
        try:
            import litert_torch  # noqa: F401, PLC0415
            import tflite_micro  # noqa: F401, PLC0415
        except ImportError as error:
            raise TfliteError(
                "--target tflite needs LiteRT's converter, which has wheels for Linux on x86-64; "
                "install it with: uv sync --inexact --group tflite"
            ) from error


def require_convertible(network: str) -> None:
    """Refuse networks that are not made of layers: the converter would end the process.

    Raises:
        TfliteError: it is one.
    """
    entry = zoo_entry(network)
    if entry.fitted and not entry.own_input:
        raise TfliteError(
            f"{network} is not made of the layers that TFLite has; networks that are tested are "
            f"{', '.join(TESTED_NETWORKS)}"
        )


def convert(graph: ExportGraph, network: str) -> bytes:
    """The TFLite file, in float32, of a graph with a network of this name.

    Raises:
        TfliteError: the converter refuses it.
    """
    import litert_torch  # noqa: PLC0415

    litert_torch.config.show_progress = False
    with capture_native_output(), tempfile.TemporaryDirectory(prefix="earful-") as folder:
        out = Path(folder) / "model.tflite"
        try:
            litert_torch.convert(graph.eval(), graph.examples()).export(str(out))
        # What it raises for an operator that it lacks has no common class.
        except Exception as error:
            raise TfliteError(
                f"LiteRT's converter refuses {network}: {_reason(error)}; networks that are "
                f"tested are {', '.join(TESTED_NETWORKS)}"
            ) from error
        return out.read_bytes()


def quantize(model: bytes, graph: ExportGraph, waveforms: NDArray[np.float32]) -> bytes:
    """An INT8 copy of a converted graph, with ranges from waveforms (clips, clip_samples).

    Weights are INT8 for each channel, activations INT8. With the features outside, the input and
    the output are INT8 too; else the front end and what goes in and out stay float32.

    Raises:
        TfliteError: the quantiser refuses it.
    """
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager  # noqa: PLC0415
    from ai_edge_quantizer.algorithm_manager import AlgorithmName  # noqa: PLC0415
    from ai_edge_quantizer.utils import qsv_utils  # noqa: PLC0415

    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(
        regex=_ALL if graph.features_outside else _WITHOUT_FRONT_END,
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
    )
    if not graph.features_outside:
        for kept in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            recipe.add_quantization_config(_ALL, kept, algorithm_key=AlgorithmName.NO_QUANTIZE)
    samples = [{_INPUT: sample[np.newaxis]} for sample in graph.inputs(waveforms)]
    with capture_native_output():
        # The quantiser's own calibration averages the extremes of clips, and the louder ones clip.
        ranges = calibrator.Calibrator(
            model, num_threads=1, qsv_update_func=qsv_utils.min_max_update
        )
        try:
            ranges.calibrate({_SIGNATURE: samples}, recipe)
            made = quantizer.Quantizer(model, recipe.get_quantization_recipe())
            quantized = made.quantize(ranges.get_model_qsvs()).quantized_model
        except (ValueError, RuntimeError, KeyError) as error:
            raise TfliteError(f"LiteRT's quantiser refuses the model: {_reason(error)}") from error
    if quantized is None:
        raise TfliteError("LiteRT's quantiser gave no model; export without --int8")
    return bytes(quantized)


def _reason(error: Exception) -> str:
    """The first line of its text, without the trace that the converter adds."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
