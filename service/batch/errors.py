"""The error that stops a whole batch run; a problem with one input becomes an error row instead."""

from earful.data.errors import EarfulError


class BatchError(EarfulError):
    """There is no input, the run cannot start or continue, or the output format is unknown."""
