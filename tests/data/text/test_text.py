"""Names of strangers: nothing reaches a terminal as a command or a spreadsheet as a formula."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earful.data.text.formula_cells import mark_formula, unmark_formula
from earful.data.text.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text.wav", "plain text.wav"),
        ("café 音.wav", "café 音.wav"),
        ("\x1b[2J.wav", "\\u001b[2J.wav"),
        ("\x9b31m", "\\u009b31m"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("bell\x07\x7f", "bell\\u0007\\u007f"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_kept_characters_stay() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\u001b"


@pytest.mark.parametrize(
    "text",
    [
        "=1+1.wav",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "'=1",
        "--5",
        "-.wav",
    ],
)
def test_formulas_are_marked(text: str) -> None:
    assert mark_formula(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "a.wav", "-", "-5", "+3.5", "-1e-3", "'quoted'", "a=b", "1-2"]
)
def test_other_cells_stay(text: str) -> None:
    assert mark_formula(text) == text


@pytest.mark.slow
@given(st.text(alphabet="'=-+@1a\t", max_size=6))
@example("'-1")
def test_every_text_comes_back(text: str) -> None:
    assert unmark_formula(mark_formula(text)) == text
