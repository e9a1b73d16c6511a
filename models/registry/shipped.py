"""What is used where none is named: the registry, and the models that ship with the package.

``models/pretrained`` has the cards of the models.
"""

from pathlib import Path

_PRETRAINED = Path(__file__).parents[1] / "pretrained"
DEFAULT_REGISTRY = "artifacts/registry"
DEFAULT_NAME = "digits"
# ``--model`` takes these names where the registry has no model of the name.
SHIPPED_MODELS = {name: _PRETRAINED / f"{name}.onnx" for name in (DEFAULT_NAME, "digits-small")}
SHIPPED_MODEL = SHIPPED_MODELS[DEFAULT_NAME]
