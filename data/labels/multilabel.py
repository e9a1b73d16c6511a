"""Label text: natural order, and several labels in one cell, ``dog|rain``.

A multi-label clip has its labels in one cell, joined by ``|``. Normalised text lists them in
natural order, so equal sets of labels have equal text.
"""

import re
from collections.abc import Iterable

SEPARATOR = "|"
# Labels appear in file names, charts and HTTP headers: longer or unprintable ones are refused.
MAX_LABEL_CHARACTERS = 200
# All labels of a clip together.
MAX_CELL_CHARACTERS = 2_000


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``2`` before ``10`` and ``b2`` before ``b10``."""
    parts = re.split(r"([0-9]+)", label)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts if p)


def sort_labels(labels: Iterable[str]) -> list[str]:
    """The distinct labels in natural order, the order of a model's outputs."""
    return sorted(set(labels), key=natural_key)


def has_multiple_labels(label: str) -> bool:
    """Whether a label text names several labels."""
    return SEPARATOR in label


def split_labels(label: str) -> list[str]:
    """The labels of a text, in its order."""
    return [part.strip() for part in label.split(SEPARATOR)]


def join_labels(labels: Iterable[str]) -> str:
    """The text of the distinct labels, in natural order."""
    return SEPARATOR.join(sort_labels(labels))


def normalise_label(label: str) -> str:
    """A label text, trimmed, several labels in natural order."""
    return join_labels(split_labels(label)) if SEPARATOR in label else label.strip()


def distinct_labels(texts: Iterable[str]) -> list[str]:
    """The distinct labels of all texts, in natural order."""
    return sort_labels(part for text in set(texts) for part in split_labels(text))


def find_label_problem(label: str) -> str | None:
    """Why a non-empty label text is invalid; None if it is valid."""
    if SEPARATOR not in label and len(label) <= MAX_LABEL_CHARACTERS and label.isprintable():
        return None  # nearly all
    parts = split_labels(label)
    too_long = len(label) > MAX_CELL_CHARACTERS or max(map(len, parts)) > MAX_LABEL_CHARACTERS
    if too_long or not label.isprintable():
        limit = f", all of a clip at most {MAX_CELL_CHARACTERS}" if len(parts) > 1 else ""
        return f"a label is printable and at most {MAX_LABEL_CHARACTERS} characters long{limit}"
    if "" in parts:
        return f"a label next to a {SEPARATOR} is empty; write several labels as dog|rain"
    repeated_label = next((part for part in parts if parts.count(part) > 1), None)
    if repeated_label is None:
        return None
    return f"the label {repeated_label!r} is listed twice; list each once"
