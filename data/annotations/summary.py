"""What became of the labels: in words, as JSON, and as an error where nothing is to be written."""

from collections import Counter
from typing import Any

from earful.data.annotations.annotation import AnnotationError, AnnotationSet, format_list
from earful.data.labels.labels_csv import MAX_REPORTED_PROBLEMS
from earful.data.labels.multilabel import sort_labels


def format_summary(collected: AnnotationSet) -> str:
    """For a person: counts, and everything that was not taken, a line each."""
    counts = Counter(annotation.label for annotation in collected.annotations)
    lines = ["labels: " + ", ".join(f"{label} {counts[label]}" for label in sort_labels(counts))]
    for title, items in (
        ("skipped: cancelled, or without a label", collected.skipped),
        ("gave way to another label of the same sound", collected.superseded),
        ("said the same of the same sound", collected.duplicates),
        ("could not be used and were left out", collected.problems),
    ):
        if items:
            more = " (--json lists all)" if len(items) > MAX_REPORTED_PROBLEMS else ""
            lines += [f"{len(items)} {title}{more}:", format_list(items)]
    return "\n".join([*lines, *(f"note: {note}" for note in collected.notes)])


def summary_dict(collected: AnnotationSet) -> dict[str, Any]:
    """The same in full, for a program."""
    counts = Counter(annotation.label for annotation in collected.annotations)
    return {
        "labels": {label: counts[label] for label in sort_labels(counts)},
        "written": len(collected.annotations),
        "skipped": [vars(problem) for problem in collected.skipped],
        "superseded": [vars(superseded) for superseded in collected.superseded],
        "duplicates": [vars(superseded) for superseded in collected.duplicates],
        "problems": [vars(problem) for problem in collected.problems],
        "notes": collected.notes,
    }


def raise_on_problems(collected: AnnotationSet, *, skip_bad: bool) -> None:
    """Stop where something cannot be used and is not to be left out, or nothing is left.

    Raises:
        AnnotationError: all problems.
    """
    problems = collected.problems
    if problems and not skip_bad:
        raise AnnotationError(
            f"{len(problems)} labels cannot be used and nothing was written; mend them, or leave "
            f"them out with --skip-bad:\n{format_list(problems)}"
        )
    if not collected.annotations:
        details = format_list(problems or collected.skipped)
        raise AnnotationError(
            f"no label is left, and nothing was written{':' * bool(details)}\n{details}".strip()
        )
