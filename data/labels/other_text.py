"""Text files that are no tables, told by the first line in which a table has its column names."""

import re

_OTHER_TEXTS = (
    (
        re.compile(r'^[\[{]\s*(["{\[]|$)'),
        "holds JSON; write its entries to a CSV with the columns filename and label",
    ),
    (
        re.compile(r"^<(!doctype|html|\?xml)", re.IGNORECASE),
        "is a web page or XML, such as the message of a failed download; download the CSV itself",
    ),
    (
        re.compile(r"^version https://git-lfs"),
        "is a pointer of Git LFS in place of the file; fetch it with `git lfs pull`",
    ),
    (
        re.compile(r'^"[^"]*"( +"[^"]*")+\s*$'),
        "has blanks between its cells; write it with commas",
    ),
)


def describe_other_text(first_line: str) -> str:
    """What a file is, by its first line, and what to do; empty for a table."""
    text = first_line.strip()
    return next((what for pattern, what in _OTHER_TEXTS if pattern.match(text)), "")
