"""Export to a static site: a folder that classifies in any browser, from any static host.

The page runs the model file as it is, in ONNX Runtime Web; sound stays on the device.
``model.json`` holds what the page needs of the metadata, ``NOTICE.txt`` versions, hashes, licences.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.atomic_write import staged_folder
from earful.models.bundle.bundle import Bundle, golden_tolerance, open_bundle
from earful.models.bundle.event_options import EventOptions, min_scores
from earful.models.bundle.metadata import ModelError
from earful.models.bundle.regular_file import read_regular_file
from earful.training.export.export import ExportResult
from earful.training.export.web_notice import notice
from earful.training.export.web_pages import ON_DEVICE, page_files, page_html
from earful.training.export.web_runtime import SCRIPT, VERSION, WASM, WebRuntime

# A folder with this file is an earlier site, which is replaced.
MARKER = "model.json"
MODEL = "model.onnx"
_BUILD_DIGITS = 16


@dataclass(frozen=True)
class SiteResult:
    """The written folder.

    size_bytes  what a browser loads of it
    exported    the model, where it was exported for the site
    """

    path: Path
    size_bytes: int
    n_labels: int
    exported: ExportResult | None = None


def write_site(model: Path, name: str, out: Path, runtime: WebRuntime) -> SiteResult:
    """Write a static site with a model file, which the page calls ``name``.

    Raises:
        ModelError: the model is missing, damaged or does not reproduce its golden example.
        OutputError: ``out`` is taken by something else, or cannot be written.
    """
    bundle = open_bundle(model)
    content = read_regular_file(model)
    if hashlib.sha256(content).hexdigest() != bundle.sha256:
        raise ModelError(f"{model} has changed while it was exported; export it again")
    files = _site_files(bundle, name, content, runtime)
    with staged_folder(out, MARKER) as staging:
        for path, content in files.items():
            target = staging / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return SiteResult(out, sum(map(len, files.values())), len(bundle.metadata.labels))


def _site_files(bundle: Bundle, name: str, model: bytes, runtime: WebRuntime) -> dict[str, bytes]:
    """Contents by path in the site."""
    files = {
        "index.html": page_html(),
        MODEL: model,
        MARKER: _json(model_json(bundle, name)),
        **{f"runtime/{file}": content for file, content in runtime.files.items()},
        **page_files(),
    }
    pretrained = bundle.metadata.architecture.get("pretrained")
    files["NOTICE.txt"] = notice(name, pretrained, files).encode()
    return {**files, "service_worker.js": _service_worker(files)}


def model_json(bundle: Bundle, name: str) -> dict[str, Any]:
    """What the page needs to know of a model; ``event_min_scores`` has None for no event."""
    metadata = bundle.metadata
    lowest = min_scores(EventOptions(), metadata).tolist()
    golden = metadata.golden
    return {
        "name": name,
        "version": bundle.sha256[:12],
        "sha256": bundle.sha256,
        "file": MODEL,
        "architecture": metadata.architecture["name"],
        "created": metadata.created,
        "labels": list(metadata.labels),
        "score_kind": metadata.score_kind,
        "rejection_threshold": metadata.rejection_threshold,
        "event_min_scores": [score if np.isfinite(score) else None for score in lowest],
        "sample_rate_hz": metadata.features.sample_rate_hz,
        "clip_samples": metadata.features.clip_samples,
        "clip_seconds": metadata.features.clip_seconds,
        "golden": {
            "waveform_int16_base64": base64.b64encode(
                golden.waveform.astype("<i2").tobytes()
            ).decode(),
            "probabilities": list(golden.probabilities),
            "tolerance": golden_tolerance(metadata),
        },
        "runtime": {
            "version": VERSION,
            "script": f"runtime/{SCRIPT}",
            "wasm": f"runtime/{WASM}",
        },
    }


def _service_worker(files: Mapping[str, bytes]) -> bytes:
    """Keeps all files in the browser; its text changes with them, by which a browser sees that."""
    # The page is kept under the folder's own address, to which some hosts redirect index.html.
    hashes = {
        "./" if path == "index.html" else path: hashlib.sha256(content).hexdigest()
        for path, content in sorted(files.items())
    }
    listed = json.dumps(hashes)
    build = hashlib.sha256(listed.encode()).hexdigest()[:_BUILD_DIGITS]
    head = f'const BUILD = "{build}", HASHES = {listed};\n'
    return head.encode() + (ON_DEVICE / "service_worker.js").read_bytes()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
