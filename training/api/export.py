"""``earful.export``: a run to one ONNX file, or to a site that classifies in the browser."""

import os
import tempfile
from pathlib import Path
from typing import Literal, overload

from earful.data.errors import UsageError, optional_path, require_choice, require_path
from earful.models.registry.find_model import find_model
from earful.training.export.export import ExportResult
from earful.training.export.export import export as export_run
from earful.training.export.int8 import MAX_LOST_POINTS, Int8Export, export_int8
from earful.training.export.web_runtime import read_web_runtime
from earful.training.export.web_site import SiteResult, write_site

TARGETS = ("onnx", "web")


@overload
def export(
    run: str | os.PathLike[str], out: str | os.PathLike[str], target: Literal["onnx"] = "onnx"
) -> ExportResult: ...


@overload
def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Literal["onnx"] = "onnx",
    *,
    int8: Literal[True],
    max_lost_points: float | None = None,
    data: str | os.PathLike[str] | None = None,
) -> Int8Export: ...


@overload
def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Literal["web"],
    web_runtime: str | os.PathLike[str],
) -> SiteResult: ...


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Literal["onnx", "web"] = "onnx",
    web_runtime: str | os.PathLike[str] | None = None,
    int8: bool = False,
    max_lost_points: float | None = None,
    data: str | os.PathLike[str] | None = None,
) -> ExportResult | SiteResult | Int8Export:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch, or as a web page.

    Args:
        run: folder made by ``train``; for the target ``web`` also a model file or name.
        out: ONNX file to write, only if ONNX Runtime and PyTorch agree within 1e-4; for the target
            ``web`` the folder of the site.
        target: ``onnx``, or ``web`` for a static site that classifies in the browser.
        web_runtime: for the target ``web`` the package that ``npm pack onnxruntime-web`` fetches.
        int8: for the target ``onnx`` INT8 weights and activations, if the model stays accurate.
        max_lost_points: percentage points of validation accuracy that INT8 may lose, 0.5 if None.
        data: for INT8 the run's dataset, if it was moved.

    Raises:
        UsageError: an argument that is no path, or no target.
        TrainingError: the folder holds no usable checkpoint.
        ExportError: ONNX Runtime and PyTorch differ.
        QuantizationError: INT8 is not possible, or loses too much.
        ModelError: the model file is missing or damaged.
        WebRuntimeError: ``web_runtime`` is missing, or another package.
        OutputError: ``out`` cannot be written.
        EarfulError: the network is not a classifier.
    """
    source, folder = require_path("run", run), require_path("out", out)
    require_choice("target", target, TARGETS)
    if not int8 and (data is not None or max_lost_points is not None):
        raise UsageError("data and max_lost_points are for int8=True; leave them out, or set it")
    if int8 and target != "onnx":
        raise UsageError("int8 writes a model file: leave out the target, then give it that file")
    if target == "web":
        return _export_site(source, folder, optional_path("web_runtime", web_runtime))
    if web_runtime is not None:
        raise UsageError("web_runtime is for the target 'web'; leave it out, or change the target")
    if int8:
        limit = MAX_LOST_POINTS if max_lost_points is None else max_lost_points
        return export_int8(source, folder, optional_path("data", data), limit)
    return export_run(source, folder)


def _export_site(source: Path, out: Path, package: Path | None) -> SiteResult:
    runtime = read_web_runtime(package)
    if not source.is_dir():
        return write_site(find_model(str(source)), source.stem, out, runtime)
    with tempfile.TemporaryDirectory() as folder:
        exported = export_run(source, Path(folder) / "model.onnx")
        return write_site(exported.path, source.resolve().name, out, runtime)
