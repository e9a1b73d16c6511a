"""Several labels in one cell, as the field writes them: a list, or between commas or semicolons."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from earful.data.errors import UsageError
from earful.data.labels.multilabel import SEPARATOR

# Between several labels of a cell, where many datasets have them.
_SUSPECTS = (",", ";", "/")
# What pandas and R write for an empty cell.
EMPTY_WORDS = frozenset({"nan", "NaN", "NA", "N/A", "#N/A", "<NA>", "NULL", "null", "None"})
_LIST = re.compile(r"^\[.*\]$", re.DOTALL)
# Commas end an item; NumPy writes blanks alone.
_LIST_ITEM = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"]+))"""
    r"""(?:\s*(?:,|$)|\s+(?=['"]))"""
)


def check_separator(separator: str) -> None:
    """Refuse a separator that is no separator.

    Raises:
        UsageError: it holds a letter or a digit, or is longer than three characters.
    """
    if any(c.isalnum() for c in separator) or len(separator) > 3:
        raise UsageError(
            f"--label-separator is what stands between labels, such as ',', found {separator!r}"
        )


def read_label_cell(cell: str, separator: str) -> str:
    """The label text of a cell, its labels in their order: of ``['b', 'a']`` it is ``b|a``.

    A list in brackets is always several labels; others are split at ``separator``, if given.
    """
    items = list_items(cell)
    if items is None and separator and separator in cell:
        items = cell.split(separator)
    if items is None:
        return cell.strip()
    return SEPARATOR.join(item.strip() for item in items if item.strip())


def list_items(cell: str) -> list[str] | None:
    """The items of a JSON or Python list, in quotation marks or several; None for other text."""
    text = cell.strip()
    if not _LIST.match(text) or not (text == "[]" or any(mark in text for mark in "'\",")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _python_items(text[1:-1])
    plain = isinstance(value, list) and not any(isinstance(item, list | dict) for item in value)
    return [str(item) for item in value] if plain else None


def _python_items(text: str) -> list[str] | None:
    items: list[str] = []
    position = 0
    while position < len(text):
        item = _LIST_ITEM.match(text, position)
        if item is None or item.end() == position:
            return None
        items.append(next(group for group in item.groups() if group is not None).strip())
        position = item.end()
    return items


def find_separator_note(cells: Sequence[tuple[int, str]]) -> str:
    """A note on labels that look like several between commas, semicolons or slashes; else empty.

    ``cells`` are (line, label). A label is suspicious if its parts are found in other labels too.
    """
    for separator in _SUSPECTS:
        suspicious = _suspicious(cells, separator)
        if suspicious:
            line, label = suspicious[0]
            return (
                f"{len(suspicious)} of {len(cells)} labels hold {separator!r} and are one label "
                f"each (the first: line {line}, {label[:60]!r}); if they are several: "
                f"--label-separator {_for_shell(separator)}"
            )
    return ""


def find_list_note(cells: Sequence[str]) -> str:
    """A note on label cells that are lists; else empty."""
    lists = [cell for cell in cells if list_items(cell) is not None]
    if not lists:
        return ""
    return (
        f"{len(lists)} of {len(cells)} label cells are lists (the first: {lists[0][:60]!r}); each "
        "item is a label"
    )


def find_empty_word_note(cells: Sequence[str]) -> str:
    """A note on labels that programs write for an empty cell; else empty."""
    words = [cell for cell in cells if cell in EMPTY_WORDS]
    if not words:
        return ""
    return (
        f"{len(words)} of {len(cells)} labels are {words[0]!r}, which programs write for an empty "
        "cell, and are read as a label; remove those rows if they have none"
    )


def _suspicious(cells: Sequence[tuple[int, str]], separator: str) -> list[tuple[int, str]]:
    holding = {text for _, text in cells if separator in text}
    if not holding:
        return []
    distinct = {text for _, text in cells}
    parts = Counter(part for text in distinct for part in set(_parts(text, separator)))
    several = {text for text in holding if sum(parts[p] > 1 for p in _parts(text, separator))}
    return [(line, text) for line, text in cells if text in several]


def _parts(text: str, separator: str) -> Iterable[str]:
    return [part.strip() for part in text.split(separator)]


def _for_shell(separator: str) -> str:
    return f"'{separator}'"
