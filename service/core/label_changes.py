"""Labels that a retraining changes, or that feedback would change, for people to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from earful.data.text.json_input import STRICT
from earful.data.text.printable import printable

# Listed in a terminal and in GET /v1/retrain; JSON and the report have all.
MAX_LISTED_CHANGES = 20


@dataclass(frozen=True)
class LabelChange:
    """A clip of the base data whose label new data contradicts.

    filename  its file; ``start`` and ``end`` are seconds in it, None for the whole file
    old, new  its label, and that of the new data
    by        the annotators who gave the new label, or the row of the labels CSV
    """

    __pydantic_config__ = STRICT

    filename: str
    start: float | None
    end: float | None
    old: str
    new: str
    by: str

    @property
    def clip(self) -> str:
        """The file, and the stretch of it, as one printable line."""
        name = printable(self.filename)
        return name if self.start is None else f"{name} from {self.start:g} to {self.end:g} s"

    def text(self) -> str:
        """The change as one printable line."""
        return printable(f"{self.clip}: {self.old} -> {self.new}, by {self.by}")


def list_changes(title: str, changes: Sequence[LabelChange]) -> list[str]:
    """A line for each of the first changes, and how many more there are."""
    lines = [f"{title}: {change.text()}" for change in changes[:MAX_LISTED_CHANGES]]
    more = len(changes) - len(lines)
    return [*lines, f"{title}: {more} more (--json and report.html list all)"] if more else lines


def list_kept(changes: Sequence[LabelChange]) -> list[str]:
    """``list_changes`` of curated labels that are kept, with the way to change them."""
    if not changes:
        return []
    hint = "one sender does not overrule a curated label; accept it with --trust NAME"
    return [*list_changes("kept as curated", changes), hint]
