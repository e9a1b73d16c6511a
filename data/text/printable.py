"""Text for a terminal: control characters are shown, not obeyed.

A file name can hold sequences that clear the screen, set the title or write text backwards.
"""

import json
import re

# All that str.isprintable excludes begins outside of these; most texts hold nothing else.
_PLAIN = re.compile(r"[ -~]*")


def printable(text: str, keep: str = "") -> str:
    """Escape what is not printable as JSON does (``\\u001b``), except the characters of ``keep``.

    That is control characters, marks that change the direction of writing, and bytes of a file
    name that are not UTF-8.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(c if c.isprintable() or c in keep else json.dumps(c)[1:-1] for c in text)
