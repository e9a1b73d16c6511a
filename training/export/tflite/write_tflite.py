"""The files of an export to TFLite.

As TFLite's own metadata does, a small ZIP archive follows the model in its file: ``labels.txt``,
and ``earful.json`` with what an ONNX file of the same run says of itself, and how numbers are
stored in the input and the output. Interpreters read the model in front of it.
"""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from earful.data.atomic_write import OutputError, staged_file
from earful.models.bundle.metadata import KEY_PREFIX, ModelMetadata
from earful.models.layers.normalise import WaveformClassifier
from earful.training.export.tflite.c_header import FIRST_LINE, front_end_header, golden_header
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.stream_graph import StreamGraph
from earful.training.export.tflite.tflite_model import TfliteModel

# Of the files in the archive: equal exports are equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def header_paths(out: Path) -> tuple[Path, Path]:
    """Where the headers of a TFLite file are written: parameters and tables, golden vectors.

    Raises:
        OutputError: a file of another origin is there, or the model itself.
    """
    paths = (out.with_suffix(".h"), out.with_name(f"{out.stem}_golden.h"))
    if out in paths:
        raise OutputError(f"{out} is where a header goes; give another name, as model.tflite")
    for path in paths:
        if path.exists() and not _is_ours(path):
            raise OutputError(
                f"{path} is there already and was not made by `earful export`; move it, or give "
                "another --out"
            )
    return paths


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(FIRST_LINE.encode())


def write_tflite(
    out: Path, content: bytes, metadata: ModelMetadata, model: TfliteModel, graph: ExportGraph
) -> int:
    """Write the TFLite file with its archive; its size in bytes.

    Raises:
        OutputError: it cannot be written.
    """
    metadata_json = {
        key.removeprefix(KEY_PREFIX): json.loads(text) for key, text in metadata.to_props().items()
    }
    del metadata_json["golden"]  # a waveform, larger than many a model; headers have one
    description = {
        **metadata_json,
        "input": {
            "is": "features" if graph.features_outside else "waveform",
            "shape": list(model.input_shape),
            **asdict(model.input_parameters),
        },
        "output": asdict(model.output_parameters),
        **graph.describe(),
    }
    files = {
        "labels.txt": "".join(f"{label}\n" for label in metadata.labels),
        "earful.json": json.dumps(description, ensure_ascii=False, indent=2),
    }
    with staged_file(out) as staging:
        staging.write_bytes(content)
        with zipfile.ZipFile(staging, "a", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), text.encode())
        return staging.stat().st_size


def write_headers(
    paths: tuple[Path, Path],
    exported: WaveformClassifier,
    metadata: ModelMetadata,
    model: TfliteModel,
    graph: ExportGraph,
) -> None:
    """Write the two headers of a model whose features are computed outside.

    Raises:
        OutputError: they cannot be written.
    """
    golden = metadata.golden
    texts = (
        front_end_header(
            exported,
            metadata.labels,
            (model.input_parameters, model.output_parameters),
            metadata.rejection_threshold,
            paths[1].name,
            is_stream=isinstance(graph, StreamGraph),
        ),
        golden_header(
            golden.waveform,
            graph.inputs(golden.input())[0],
            np.array(golden.probabilities, np.float32),
        ),
    )
    for path, text in zip(paths, texts, strict=True):
        with staged_file(path) as staging:
            staging.write_text(text, "utf-8", newline="\n")
