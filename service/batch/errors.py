"""What stops a batch as a whole; what is wrong with one input is a row instead."""

from earful.data.errors import EarfulError


class BatchError(EarfulError):
    """Nothing to classify, a run that cannot start or go on, or a format that is not known."""
