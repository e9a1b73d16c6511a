"""Text for a terminal: control characters are shown, not obeyed.

A file name can hold sequences that clear the screen, set the title or write text backwards.
"""

import json
import re
from typing import Any

# All that str.isprintable excludes begins outside of these; most texts hold nothing else.
_PLAIN = re.compile(r"[ -~]*")
_MAX_VALUE_CHARACTERS = 500


def printable(text: str, keep: str = "") -> str:
    """Escape what is not printable as JSON does (``\\u001b``), except the characters of ``keep``.

    That is control characters, marks that change the direction of writing, and bytes of a file
    name that are not UTF-8.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(c if c.isprintable() or c in keep else json.dumps(c)[1:-1] for c in text)


def printable_line(text: str) -> str:
    """The text with a question mark for each line end and terminal control character."""
    return "".join(c if c.isprintable() else "?" for c in text)


def printable_text(value: Any) -> str:
    """A value of a foreign file as one printable line; empty if it is not text or a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        text = str(value).strip()
    except ValueError:  # an integer with thousands of digits
        return ""
    return printable_line(text[:_MAX_VALUE_CHARACTERS])
