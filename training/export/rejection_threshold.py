"""Writes another rejection threshold into a model file; all else of it stays as it is."""

import json
import os
import shutil
from pathlib import Path

import onnx

from earful.data.atomic_write import staged_file
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.metadata import KEY_PREFIX
from earful.models.registry.records import MODEL_FILE
from earful.training.export.export import ExportError

_KEY = f"{KEY_PREFIX}rejection_threshold"
_VERSIONS = "versions"


def check_writable_model(model: str) -> Path:
    """The path of ``model``, if it is a file that may be changed.

    Raises:
        ExportError: it is a name or a file of the registry, whose versions never change, is
            missing, or its folder cannot be written.
    """
    path = Path(model)
    if not path.is_file():
        raise ExportError(
            f"the threshold is written into a model file, and {model} is none; copy the file of a "
            "version from the registry (REGISTRY/NAME/versions/N/model.onnx), give that copy, and "
            "register it: `earful models register NAME model.onnx`"
        )
    target = path.resolve()
    if target.name == MODEL_FILE and target.parent.parent.name == _VERSIONS:
        raise ExportError(
            f"{model} is a version of the registry, which never changes; copy it, give the copy, "
            f"and register that: `earful models register {target.parents[2].name} COPY.onnx`"
        )
    if not os.access(target.parent, os.W_OK):
        raise ExportError(
            f"{target.parent} cannot be written, and the threshold goes into {model}; copy the "
            "model to another folder"
        )
    return path


def write_rejection_threshold(model: Path, threshold: float) -> None:
    """Replace the rejection threshold in a model file, atomically.

    Raises:
        ModelError: the file with the new threshold does not open; ``model`` is unchanged.
        OutputError: the file cannot be written.
    """
    proto = onnx.load(model)
    for entry in proto.metadata_props:
        if entry.key == _KEY:
            entry.value = json.dumps(threshold)
    with staged_file(model) as staging:
        staging.write_bytes(proto.SerializeToString())
        open_bundle(staging)  # checks metadata and golden example, as a server does
        shutil.copymode(model, staging)
