"""Names of columns: how they are compared, and how one that the user gave is found."""

from collections.abc import Sequence
from pathlib import Path

from earful.data.errors import did_you_mean
from earful.data.labels.text_file import LabelsError

_BETWEEN_WORDS = str.maketrans({"-": " ", "_": " ", "(": " (", "[": " ["})


def normalise_name(name: str) -> str:
    """A column name as it is looked up: small letters, words joined by ``_``."""
    text = name.strip().strip("#").lower().translate(_BETWEEN_WORDS)
    return "_".join(text.split())


def find_named(header: Sequence[str], name: str, path: Path, role: str) -> int:
    """The position of a column that the user named: as written, else in any case.

    Raises:
        LabelsError: it is not there; the message lists those that are.
    """
    for spell in (str, normalise_name):
        matches = [i for i, column in enumerate(header) if spell(column.strip()) == spell(name)]
        if len(matches) == 1:
            return matches[0]
    hint = did_you_mean(name, [column.strip() for column in header])
    raise LabelsError(
        f"{path} has no column {name!r} for the {role}{hint}; it has {quote_names(header)}"
    )


def quote_names(header: Sequence[str]) -> str:
    """The names of a header for a message."""
    return ", ".join(repr(name.strip()) for name in header)
