"""Speech and audio classification that a team can train, trust and serve itself.

    import earful
    model = earful.load("model.onnx")      # or a registry name; the shipped model without an argument
    model.classify("clip.wav").label

Importing this package is cheap: torch and ONNX Runtime are loaded when they are first used.

Raises:
    ImportError: Python is older than 3.11, or the package lies in a clone without symbolic links.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):
    raise ImportError(
        "Earful needs Python 3.11 or newer, found %d.%d; `uv run` installs one" % sys.version_info[:2]
    )
if not os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")):
    raise ImportError(
        "earful/data is no folder: this clone was made without symbolic links. Switch them on "
        "(git config core.symlinks true; on Windows also Developer Mode) and clone again."
    )

if TYPE_CHECKING:
    from earful.data.dataset.prepare import PrepareResult
    from earful.data.errors import EarfulError
    from earful.service.api.model import Event, Model, Prediction, load
    from earful.training.api.api import evaluate, export, prepare, train

# Where each public name lies: it is imported when it is first used.
_MODULES = {
    "EarfulError": "earful.data.errors",
    "Event": "earful.service.api.model",
    "Model": "earful.service.api.model",
    "Prediction": "earful.service.api.model",
    "evaluate": "earful.training.api.api",
    "export": "earful.training.api.api",
    "load": "earful.service.api.model",
    "prepare": "earful.training.api.api",
    "train": "earful.training.api.api",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError("module 'earful' has no attribute %r" % name)
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
