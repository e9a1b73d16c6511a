"""``earful.export``: a run to one ONNX file."""

import os

from earful.data.errors import require_path
from earful.training.export.export import ExportResult
from earful.training.export.export import export as export_run


def export(run: str | os.PathLike[str], out: str | os.PathLike[str]) -> ExportResult:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch.

    Args:
        run: folder made by ``train``.
        out: ONNX file to write, only if ONNX Runtime and PyTorch agree within 1e-4.

    Raises:
        UsageError: an argument that is no path.
        TrainingError: the folder holds no usable checkpoint.
        ExportError: ONNX Runtime and PyTorch differ.
        OutputError: ``out`` cannot be written.
        EarfulError: the network is not a classifier.
    """
    return export_run(require_path("run", run), require_path("out", out))
