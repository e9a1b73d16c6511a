"""``earful.export``: a run to one ONNX file, to a site for browsers, or for small devices."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

from earful.data.errors import optional_path, require_choice, require_path
from earful.models.registry.find_model import find_model
from earful.training.export.export import ExportResult
from earful.training.export.export import export as export_run
from earful.training.export.export_options import ExportOptions, Target
from earful.training.export.int8 import Int8Export, export_int8
from earful.training.export.tflite.export_tflite import TfliteExport, export_tflite
from earful.training.export.web_runtime import read_web_runtime
from earful.training.export.web_site import SiteResult, write_site


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


@overload
def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Literal["tflite"],
    *,
    int8: bool = False,
    max_lost_points: float | None = None,
    data: str | os.PathLike[str] | None = None,
    features_outside: bool = False,
    stream: bool = False,
) -> TfliteExport: ...


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Literal["onnx", "web", "tflite"] = "onnx",
    web_runtime: str | os.PathLike[str] | None = None,
    int8: bool = False,
    max_lost_points: float | None = None,
    data: str | os.PathLike[str] | None = None,
    features_outside: bool = False,
    stream: bool = False,
) -> ExportResult | SiteResult | Int8Export | TfliteExport:
    """Write the best epoch of a run as a model file, checked against PyTorch, or as a web page.

    Args:
        run: folder made by ``train``; for the target ``web`` also a model file or name.
        out: file to write, only if it scores as PyTorch does, within 1e-4; for the target ``web``
            the folder of the site.
        target: ``onnx``, ``web`` for a static site that classifies in the browser, or ``tflite``
            for phones and microcontrollers.
        web_runtime: for the target ``web`` the package that ``npm pack onnxruntime-web`` fetches.
        int8: INT8 weights and activations, if the model stays accurate.
        max_lost_points: percentage points of validation accuracy that INT8 may lose, 0.5 if None.
        data: for INT8 and the target ``tflite`` the run's dataset, if it was moved.
        features_outside: for the target ``tflite`` a model that takes features, with C headers
            beside it of what computing them needs.
        stream: for the target ``tflite`` and the network ``tcresnet-causal`` a model that takes one
            frame of features and a state, and gives scores and the next state.

    Raises:
        UsageError: an argument that is no path, or no target.
        TrainingError: the folder holds no usable checkpoint.
        ExportError: ONNX Runtime and PyTorch differ.
        TfliteError: the converter is not installed, or refuses the network.
        QuantizationError: INT8 is not possible, or loses too much.
        ModelError: the model file is missing or damaged.
        WebRuntimeError: ``web_runtime`` is missing, or another package.
        OutputError: ``out`` cannot be written.
        EarfulError: the network is not a classifier.
    """
    source, folder = require_path("run", run), require_path("out", out)
    require_choice("target", target, [str(choice) for choice in Target])
    options = ExportOptions(
        optional_path("web_runtime", web_runtime),
        int8,
        max_lost_points,
        optional_path("data", data),
        features_outside,
        stream,
    )
    options.check(target)
    return write_export(source, folder, target, options)


def write_export(
    source: Path, out: Path, target: str, options: ExportOptions
) -> ExportResult | SiteResult | Int8Export | TfliteExport:
    """``export`` with options that are checked."""
    if target == Target.WEB:
        return _export_site(source, out, options.web_runtime)
    if target == Target.TFLITE:
        return export_tflite(source, out, options)
    if options.int8:
        return export_int8(source, out, options.data, options.lost_points_limit)
    return export_run(source, out)


def _export_site(source: Path, out: Path, package: Path | None) -> SiteResult:
    runtime = read_web_runtime(package)
    if not source.is_dir():
        return write_site(find_model(str(source)), source.stem, out, runtime)
    with tempfile.TemporaryDirectory() as folder:
        exported = export_run(source, Path(folder) / "model.onnx")
        site = write_site(exported.path, source.resolve().name, out, runtime)
        return replace(site, exported=exported)
