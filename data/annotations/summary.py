"""What became of the labels: in words, as JSON, and as an error where nothing is to be written."""

from collections import Counter
from typing import Any

from earful.data.annotations.annotation import AnnotationError, Found, listed
from earful.data.labels.labels_csv import MAX_REPORTED_PROBLEMS
from earful.data.labels.multilabel import label_order


def summary(found: Found) -> str:
    """For a person: counts, and everything that was not taken, a line each."""
    counts = Counter(annotation.label for annotation in found.annotations)
    lines = ["labels: " + ", ".join(f"{label} {counts[label]}" for label in label_order(counts))]
    for title, items in (
        ("skipped: cancelled, or without a label", found.skipped),
        ("gave way to another label of the same sound", found.lost),
        ("said the same of the same sound", found.repeated),
        ("could not be used and were left out", found.problems),
    ):
        if items:
            more = " (--json lists all)" if len(items) > MAX_REPORTED_PROBLEMS else ""
            lines += [f"{len(items)} {title}{more}:", listed(items)]
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


def refuse_problems(found: Found, *, skip_bad: bool) -> None:
    """Stop where something cannot be used and is not to be left out, or nothing is left.

    Raises:
        AnnotationError: all problems.
    """
    problems = found.problems
    if problems and not skip_bad:
        raise AnnotationError(
            f"{len(problems)} labels cannot be used and nothing was written; mend them, or leave "
            f"them out with --skip-bad:\n{listed(problems)}"
        )
    if not found.annotations:
        told = listed(problems or found.skipped)
        raise AnnotationError(
            f"no label is left, and nothing was written{':' * bool(told)}\n{told}".strip()
        )
