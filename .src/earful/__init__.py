"""Speech and audio classification that a team can train, trust and serve itself.

    import earful
    model = earful.load("model.onnx")   # or a registry name; without an argument the shipped model
    model.classify("clip.wav").label

    earful.prepare("labels.csv", "dataset")
    earful.train("dataset", "run")
    earful.export("run", "model.onnx")
    earful.evaluate("model.onnx", "dataset")

Importing this package is cheap: torch and ONNX Runtime are loaded when they are first used.

Raises:
    ImportError: Python is older than 3.11, or the package lies in a clone without symbolic links.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):
    raise ImportError(
        "Earful needs Python 3.11 or newer, found %d.%d; `uv run` installs one"
        % sys.version_info[:2]
    )
if not os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")):
    raise ImportError(
        "earful/data is no folder: this clone was made without symbolic links. Switch them on "
        "(git config core.symlinks true; on Windows also Developer Mode) and clone again."
    )

if TYPE_CHECKING:
    __version__: str
    from earful.data.audio.limits import AudioError
    from earful.data.dataset.prepare import PrepareResult
    from earful.data.errors import EarfulError
    from earful.service.api.model import Model, load
    from earful.service.classifier import Prediction
    from earful.service.events import Event
    from earful.training.api.evaluate import evaluate, evaluate_events
    from earful.training.api.export import export
    from earful.training.api.prepare import prepare
    from earful.training.api.train import TrainResult, train
    from earful.training.evaluation.evaluator import Evaluation
    from earful.training.evaluation.event_evaluation import EventEvaluation
    from earful.training.export.export import ExportResult
    from earful.training.export.int8 import Int8Export
    from earful.training.export.web_site import SiteResult

# The module of each public name, imported when the name is first used.
_MODULES = {
    "AudioError": "earful.data.audio.limits",
    "EarfulError": "earful.data.errors",
    "Evaluation": "earful.training.evaluation.evaluator",
    "Event": "earful.service.events",
    "EventEvaluation": "earful.training.evaluation.event_evaluation",
    "ExportResult": "earful.training.export.export",
    "Int8Export": "earful.training.export.int8",
    "Model": "earful.service.api.model",
    "Prediction": "earful.service.classifier",
    "PrepareResult": "earful.data.dataset.prepare",
    "SiteResult": "earful.training.export.web_site",
    "TrainResult": "earful.training.api.train",
    "evaluate": "earful.training.api.evaluate",
    "evaluate_events": "earful.training.api.evaluate",
    "export": "earful.training.api.export",
    "load": "earful.service.api.model",
    "prepare": "earful.training.api.prepare",
    "train": "earful.training.api.train",
}
__all__ = [
    "AudioError",
    "EarfulError",
    "Evaluation",
    "Event",
    "EventEvaluation",
    "ExportResult",
    "Int8Export",
    "Model",
    "Prediction",
    "PrepareResult",
    "SiteResult",
    "TrainResult",
    "evaluate",
    "evaluate_events",
    "export",
    "load",
    "prepare",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # it takes 20 ms

        return version("earful")
    if name not in _MODULES:
        raise AttributeError("module 'earful' has no attribute %r" % name)
    import importlib

    try:
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from earful.data.errors import missing_package_error

        raise missing_package_error(error) or error from None


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "__version__"])
