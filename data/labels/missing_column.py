"""What a table without a column of file names or of labels is, and what makes it one with both."""

from collections.abc import Sequence
from pathlib import Path

from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.errors import command
from earful.data.labels.column_names import COLUMN_NAMES, count_known, describe_misspelt
from earful.data.labels.header import quote_names


def describe_missing_column(
    header: Sequence[str], rows: Sequence[Sequence[str]], path: Path, role: str
) -> str:
    """The message for a table that has no column for ``role``, with the next step.

    ``rows`` are the first ones, by whose values columns are recognised.
    """
    cells = [name.strip() for name in header]
    if not count_known(cells):
        other_table = _describe_title(cells, rows, path) or _describe_headerless(cells, path)
        if other_table:
            return other_table
    hints = "".join(f"; {note}" for note in describe_misspelt(header))
    example = _find_recordings(cells, rows) if role == "filename" else ""
    return (
        f"{path} has the columns {quote_names(header)}; one of "
        f"{', '.join(COLUMN_NAMES[role])} is needed for the {role}: name another one with "
        f"--columns {role}={example or 'NAME'}{hints}{_describe_one_hot(cells, rows, role)}"
    )


def _is_recording(text: str) -> bool:
    return Path(text.strip()).suffix.lower() in AUDIO_SUFFIXES


def _describe_headerless(cells: Sequence[str], path: Path) -> str:
    """The message for a table whose first line is a row already; else empty."""
    if len(cells) >= 3 and all(map(_is_number, cells[:2])):
        import_command = command("labels", "import", path, "--out", "labels.csv")
        return f"{path} has no names of columns; read a label track with {import_command}"
    if any(map(_is_recording, cells[0].split()[1:])) or (len(cells) == 1 and " " in cells[0]):
        return (
            f"the first line of {path} is {cells[0][:80]!r}, with blanks between its cells; put "
            "commas there, and above the rows a line with the names, such as filename,label"
        )
    if not any(map(_is_recording, cells)):
        return ""
    others = iter(["label"])
    names = ["filename" if _is_recording(cell) else next(others, "more") for cell in cells]
    return (
        f"the first line of {path} is a row, {quote_names(cells)}; add a first line with the names "
        f"of the columns, such as {','.join(names)}, with the same mark between them"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _describe_title(cells: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> str:
    """The message for a table with lines of text above the names of its columns; else empty."""
    names = next((row for row in rows if count_known(row) > 1), None)
    if names is None:
        return ""
    return (
        f"the first line of {path} is {cells[0][:80]!r}, and the names of the columns, "
        f"{quote_names(names)}, come after it; remove the lines above them"
    )


def _find_recordings(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column whose cells are names of recordings; empty if there is none."""
    for position, name in enumerate(cells):
        values = [row[position] for row in rows if position < len(row)]
        if name and values and all(map(_is_recording, values)):
            return name
    return ""


def _describe_one_hot(cells: Sequence[str], rows: Sequence[Sequence[str]], role: str) -> str:
    """What to do with a column of 0 and 1 for each label; else empty."""
    flags = [
        name
        for position, name in enumerate(cells)
        if {row[position].strip() for row in rows if position < len(row)} == {"0", "1"}
    ]
    if role != "label" or len(flags) < 2:
        return ""
    return (
        f"; if {', '.join(map(repr, flags[:3]))}, ... are labels of 0 and 1, write those of a row "
        "in one column, such as dog|rain"
    )
