"""Label names and titles of any length and script in pictures, without warnings."""

import contextlib
import functools
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator

from matplotlib.font_manager import fontManager

LINE_CHARACTERS = 26
TITLE_CHARACTERS = 56  # of a figure 6 inches wide
# A name beyond this is no name; its middle is left out.
MAX_CHARACTERS = 120
_BREAK = "\x1f "  # a place where a line may end, without a blank
# Fonts with the characters that matplotlib's own has not, where one is installed.
_FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Noto Emoji",
    "Segoe UI Emoji",
)


def middle_ellipsis(text: str, n_characters: int) -> str:
    """``text``, or its beginning and end around an ellipsis: ``n_characters`` at most."""
    if len(text) <= n_characters:
        return text
    n_end = (n_characters - 1) // 2
    return f"{text[: n_characters - 1 - n_end]}…{text[len(text) - n_end :]}"


def wrap(text: str, n_characters: int = LINE_CHARACTERS) -> str:
    """``text`` in lines of up to ``n_characters``; longer words are broken."""
    text = middle_ellipsis(" ".join(text.split()), MAX_CHARACTERS)
    if len(text) <= n_characters:
        return text
    # Names of files and labels are joined by more than blanks.
    parted = re.sub(r"(?<=[_/,])(?=\S)", _BREAK, text)
    lines = textwrap.wrap(parted, n_characters, break_on_hyphens=True)
    return "\n".join(line.replace(_BREAK, "").removesuffix(_BREAK[0]) for line in lines)


@functools.cache
def fonts() -> list[str]:
    """Families for labels: matplotlib's own, then those of other scripts that are installed."""
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]


@contextlib.contextmanager
def quiet_drawing() -> Iterator[None]:
    """Draw without matplotlib's warnings and log: a missing glyph is a box, and no more."""
    log = logging.getLogger("matplotlib")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
