"""Where a released model is found: a file, or the digit model that ships with the package."""

from pathlib import Path

from data.errors import EarshotError

SHIPPED_MODEL = Path(__file__).parent / "pretrained" / "digits.onnx"


def find_model(model: str | None) -> Path:
    """The file that ``--model`` means; without it, the shipped digit model.

    Raises:
        EarshotError: there is no such file.
    """
    path = SHIPPED_MODEL if model is None else Path(model)
    if not _is_file(path):
        raise EarshotError(
            f"no model file {path}; give one with --model, or make one with "
            "`earshot export RUN --out model.onnx`"
        )
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, say
        return False
