"""What the text of a label means: the order of labels, and several in one cell, ``dog|rain``.

A clip in which several things sound at once has all their labels in its cell, joined by ``|``. The
text that is kept has them in natural order, so that two texts are equal where their labels are.
"""

import re
from collections.abc import Iterable

SEPARATOR = "|"
# A label ends up in file names, charts and HTTP headers; longer or unprintable is a broken row.
MAX_LABEL_CHARACTERS = 200
# Of all labels of a clip together.
MAX_CELL_CHARACTERS = 2_000


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``2`` comes before ``10`` and ``b2`` before ``b10``."""
    parts = re.split(r"([0-9]+)", label)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts if p)


def sort_labels(labels: Iterable[str]) -> list[str]:
    """The distinct labels in natural order: the order of a model's outputs."""
    return sorted(set(labels), key=natural_key)


def has_multiple_labels(label: str) -> bool:
    """Whether a label's text names several labels."""
    return SEPARATOR in label


def split_labels(label: str) -> list[str]:
    """The labels of a text, in its order; one for most."""
    return [part.strip() for part in label.split(SEPARATOR)]


def join_labels(labels: Iterable[str]) -> str:
    """The text of labels: distinct ones, in natural order."""
    return SEPARATOR.join(sort_labels(labels))


def normalise_label(label: str) -> str:
    """A label's text as it is kept: trimmed, several in natural order."""
    return join_labels(split_labels(label)) if SEPARATOR in label else label.strip()


def distinct_labels(texts: Iterable[str]) -> list[str]:
    """The distinct labels that the texts name, in natural order."""
    return sort_labels(part for text in set(texts) for part in split_labels(text))


def find_label_problem(label: str) -> str | None:
    """Why a text that is not empty is no label and no set of labels; None where it is one."""
    parts = split_labels(label)
    too_long = len(label) > MAX_CELL_CHARACTERS or max(map(len, parts)) > MAX_LABEL_CHARACTERS
    if too_long or not label.isprintable():
        several = f", all of a clip at most {MAX_CELL_CHARACTERS}" if len(parts) > 1 else ""
        return f"a label is printable and at most {MAX_LABEL_CHARACTERS} characters long{several}"
    if "" in parts:
        return f"a label beside a {SEPARATOR} is empty; several are written as in dog|rain"
    repeated_label = next((part for part in parts if parts.count(part) > 1), None)
    return (
        None
        if repeated_label is None
        else f"the label {repeated_label!r} is there twice; name each once"
    )
