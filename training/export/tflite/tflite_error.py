"""The error of exports to TFLite."""

from earful.data.errors import EarfulError


class TfliteError(EarfulError):
    """The model cannot be converted, or its TFLite form scores otherwise."""
