"""One row of the results, and its form as a line of JSON in a chunk's part file."""

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from earful.data.labels.multilabel import normalise_label

COLUMNS = ("filename", "start", "end", "label", "score", "status", "error")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row: times in seconds, ``scores`` best first; a failed input has an error only.

    ``label`` has the best score; it is ``unknown`` where the classifier rejects, and empty where
    there is no event, or no window scored high enough. A multi-label model gives all its labels,
    ``dog|rain``, with the smallest of their scores as ``score``. ``expected`` is the correct label
    from the input list.
    """

    filename: str
    start: float | None = None
    end: float | None = None
    label: str = ""
    score: float | None = None
    scores: tuple[tuple[str, float], ...] = ()
    error: str = ""
    expected: str = ""

    @property
    def status(self) -> str:
        return "error" if self.error else "ok"

    @property
    def is_correct(self) -> bool:
        """Whether the row has the expected label, or all expected labels and no other."""
        return normalise_label(self.expected) == normalise_label(self.label)

    def to_json_line(self) -> str:
        """A line of JSON for ``from_json_line``: a list of the fields in order."""
        return json.dumps(_values_of(self)) + "\n"

    @classmethod
    def from_json_line(cls, line: str) -> "ResultRow":
        values: dict[str, Any] = dict(zip(_FIELDS, json.loads(line), strict=True))
        values["scores"] = tuple((label, score) for label, score in values["scores"])
        return cls(**values)


_FIELDS = tuple(field.name for field in fields(ResultRow))
_values_of = attrgetter(*_FIELDS)


def utf8_name(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 become ``\\xNN``."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
