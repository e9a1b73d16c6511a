"""Errors of the feedback database.

FeedbackError            the database or the recordings folder cannot be used; shown to the operator
└── DatabaseUnavailable  one call failed: locked, unreachable; can be tried again
    └── DatabaseFull     its disk is full
"""

from earful.data.errors import EarfulError


class FeedbackError(EarfulError):
    """The feedback database or the recordings folder cannot be used."""


class DatabaseUnavailable(FeedbackError):  # noqa: N818 - names a temporary state
    """A database call failed; nothing was stored."""


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database is full; nothing was stored."""
