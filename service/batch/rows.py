"""One row of the results, and how rows are kept until they are put together."""

import json
from dataclasses import dataclass, replace
from typing import Any

COLUMNS = ("filename", "start", "end", "label", "score", "status", "error")
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row: times in seconds, ``scores`` best first; a failed input has an error only.

    ``label`` is that of the best score, or ``unknown`` where the classifier rejects; empty where no
    window scored high enough. Of a model that says several labels at once it is all of them,
    ``dog|rain``, and ``score`` is the smallest of theirs. ``truth`` is what the input's list says.
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

    def continues_into(self, later: "ResultRow") -> bool:
        """Whether a later hit of the same input goes on with this one."""
        if self.end is None or later.start is None:
            return False
        return (
            self.label == later.label
            and self.filename == later.filename
            and later.start <= self.end
        )

    def merge_with(self, later: "ResultRow") -> "ResultRow":
        """Both as one, with the scores of the better."""
        best = max(self, later, key=lambda row: row.score or 0.0)
        return replace(best, start=self.start, end=later.end)

    def to_json_line(self) -> str:
        """A line of JSON, for ``of_line``."""
        values = (
            self.filename, self.start, self.end, self.label, self.score, self.scores, self.error,
            self.expected,
        )  # fmt: skip
        return json.dumps(values) + "\n"

    @classmethod
    def from_json_line(cls, line: str) -> "ResultRow":
        filename, start, end, label, score, scores, error, expected = json.loads(line)
        pairs: tuple[Any, ...] = tuple((name, score) for name, score in scores)
        return cls(filename, start, end, label, score, pairs, error, expected)


def printable(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are written as ``\\xNN``."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
