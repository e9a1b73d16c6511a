"""Errors of the feedback database.

FeedbackError         the database or its folder cannot be used; a sentence for the operator
└── StoreUnavailable  one call failed: locked, away, disk full; it may be tried again
"""

from earful.data.errors import EarfulError


class FeedbackError(EarfulError):
    """The database of feedback, or the folder of its audio, cannot be used."""


class DatabaseUnavailable(FeedbackError):  # noqa: N818 - a state that passes
    """The database did not do what it was asked; nothing of it was stored."""
