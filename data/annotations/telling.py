"""What became of the labels, in words and as JSON."""

from collections import Counter
from typing import Any

from data.annotations.annotation import Found, listed
from data.labels import label_order


def summary(found: Found) -> str:
    """For a person: counts, and everything that was not taken, a line each."""
    counts = Counter(annotation.label for annotation in found.annotations)
    lines = ["labels: " + ", ".join(f"{label} {counts[label]}" for label in label_order(counts))]
    for title, items in (
        ("skipped, since they hold no label", found.skipped),
        ("gave way to another label of the same sound", found.lost),
        ("said the same of the same sound", found.repeated),
        ("could not be used and were left out", found.problems),
    ):
        if items:
            lines += [f"{len(items)} {title}:", listed(items)]
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def told(found: Found) -> dict[str, Any]:
    """The same in full, for a program."""
    counts = Counter(annotation.label for annotation in found.annotations)
    return {
        "labels": {label: counts[label] for label in label_order(counts)},
        "written": len(found.annotations),
        "skipped": [vars(problem) for problem in found.skipped],
        "lost": [vars(lost) for lost in found.lost],
        "repeated": [vars(lost) for lost in found.repeated],
        "problems": [vars(problem) for problem in found.problems],
        "notes": found.notes,
    }
