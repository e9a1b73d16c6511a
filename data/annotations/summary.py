"""Summaries of read or written labels: as text, as JSON, and as an error."""

from collections import Counter
from typing import Any

from earful.data.annotations.annotation import AnnotationError, AnnotationSet, format_list
from earful.data.labels.clip import MAX_REPORTED_PROBLEMS, ClipProblem
from earful.data.labels.multilabel import sort_labels


def format_summary(collected: AnnotationSet) -> str:
    """Label counts, and a line for each label that is not used."""
    counts = Counter(annotation.label for annotation in collected.annotations)
    lines = ["labels: " + ", ".join(f"{label} {counts[label]}" for label in sort_labels(counts))]
    for title, items in (
        ("skipped: cancelled, or without a label", collected.skipped),
        ("superseded by another label of the same audio", collected.superseded),
        ("duplicate labels of the same audio", collected.duplicates),
        ("unusable and skipped", collected.problems),
    ):
        if items:
            hint = " (--json lists all)" if len(items) > MAX_REPORTED_PROBLEMS else ""
            lines += [f"{len(items)} {title}{hint}:", format_list(items)]
    return "\n".join([*lines, *(f"note: {note}" for note in collected.notes)])


def summary_dict(collected: AnnotationSet) -> dict[str, Any]:
    """The complete summary for JSON."""
    counts = Counter(annotation.label for annotation in collected.annotations)
    return {
        "labels": {label: counts[label] for label in sort_labels(counts)},
        "written": len(collected.annotations),
        "skipped": [_problem_dict(problem) for problem in collected.skipped],
        "superseded": [vars(superseded) for superseded in collected.superseded],
        "duplicates": [vars(superseded) for superseded in collected.duplicates],
        "problems": [_problem_dict(problem) for problem in collected.problems],
        "notes": collected.notes,
    }


def _problem_dict(problem: ClipProblem) -> dict[str, str]:
    return {"location": problem.location, "code": problem.code, "message": problem.message}


def raise_on_problems(collected: AnnotationSet, *, skip_bad: bool) -> None:
    """Raise if there are problems and ``skip_bad`` is off, or if no label is left.

    Raises:
        AnnotationError: with all problems.
    """
    problems = collected.problems
    notes = "".join(f"\nnote: {note}" for note in collected.notes)
    if problems and not skip_bad:
        raise AnnotationError(
            f"{len(problems)} labels cannot be used and nothing was written; fix them, or skip "
            f"them with --skip-bad:\n{format_list(problems)}{notes}"
        )
    if not collected.annotations:
        details = format_list(problems or collected.skipped)
        message = f"there is no usable label and nothing was written{':' * bool(details)}"
        raise AnnotationError(f"{message}\n{details}".strip() + notes)
