"""Findings of ``earful check`` and their kinds: code, severity, title and advice."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.labels.clip import Clip, ClipProblem

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# Severities that set ``needs_attention``; notes are for information.
ATTENTION_SEVERITIES: frozenset[Severity] = frozenset({"error", "warning"})


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding; the code is stable, the texts are not."""

    code: str
    severity: Severity
    title: str
    advice: str


# Title and advice of each kind, by severity and code; findings are reported in this order.
_KINDS: dict[Severity, dict[str, tuple[str, str]]] = {
    "error": {
        "bad_row": ("rows that cannot be used", "correct the row in the CSV"),
        "not_found": ("missing files", "add the file, correct its name, or remove the row"),
        "conflicting_labels": (
            "the same audio with different labels",
            "listen, and keep one row with the correct label",
        ),
        "leaked_audio": (
            "the same audio in several splits",
            "keep it in one split; test accuracy is too high otherwise",
        ),
        "single_clip_label": (
            "labels with one clip",
            "add clips of the label, or remove the row: it cannot be in both training and test",
        ),
    },
    "warning": {
        "label_error": (
            "likely label errors",
            "listen to the clip, and correct the label if it is wrong",
        ),
        "label_typo": (
            "likely misspelt labels",
            "correct the label, or keep it if it is a different word",
        ),
        "label_variant": (
            "labels that differ only in case, spaces or form",
            "write the label one way: these count as two labels",
        ),
        "leaked_speaker": (
            "speakers in several splits",
            "move all clips of a speaker to one split to test on new speakers (as prepare "
            "--split speaker does)",
        ),
        "duplicate": (
            "duplicate audio",
            "keep one row: copies count twice in training and may be in two splits",
        ),
        "silent": ("silent clips", "record the clip again, or remove the row"),
        "clipped": (
            "clips with clipping",
            "record with less gain, or remove the clip if it is hard to understand",
        ),
        "short_clip": (
            "clips that are too short",
            "check whether the clip is cut off, or give other start and end times",
        ),
        "long_clip": (
            "clips that are too long",
            "trim the clip to the labelled sound (columns start and end), or split it",
        ),
        "imbalance": (
            "labels with few clips",
            "collect more clips of the label, or expect lower accuracy for it",
        ),
        "sample_rate_leak": (
            "sample rates that reveal the label",
            "record all labels at the same rate: a network may learn the rate instead of the sound",
        ),
    },
    "note": {
        "dominant_label": (
            "labels with most of the clips",
            "accuracy says little about the other labels; use macro F1",
        ),
        "mixed_rates": (
            "mixed sample rates",
            "no action needed: prepare resamples; clips of a low rate have no frequencies "
            "above half of it",
        ),
        "dc_offset": (
            "clips with DC offset",
            "no action needed for training; it may indicate a faulty sound card",
        ),
        "not_checked": ("labels not checked for errors", "add clips of the label to check them"),
    },
}
FINDING_KINDS = {
    code: FindingKind(code, severity, title, advice)
    for severity, kinds in _KINDS.items()
    for code, (title, advice) in kinds.items()
}


@dataclass(frozen=True)
class Finding:
    """One finding about a row (line 0: about the whole dataset).

    ``suggested`` is a replacement for ``label``; ``confidence`` the probability (0 to 1) that
    ``label`` is wrong.
    """

    code: str
    line: int
    filename: str
    message: str
    severity: Severity
    label: str = ""
    suggested: str = ""
    confidence: float | None = None

    @property
    def kind(self) -> FindingKind:
        """The kind of ``code``; unknown codes are errors of ``data.audio.decode``."""
        return FINDING_KINDS.get(self.code) or FindingKind(
            code=self.code,
            severity="error",
            title=f"audio that cannot be used ({self.code})",
            advice="replace the file, or remove the row",
        )

    @property
    def location(self) -> str:
        """Line and filename, where known."""
        parts = (f"line {self.line}" if self.line else "", self.filename)
        return ", ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "advice": self.kind.advice}


def make_finding(
    code: str,
    message: str,
    clip: Clip | None = None,
    *,
    severity: Severity | None = None,
    label: str | None = None,
    suggested: str = "",
    confidence: float | None = None,
) -> Finding:
    """A finding of one of ``FINDING_KINDS``, by default with the severity of its kind.

    It is about a clip and its label, or without one about the dataset.
    """
    own_label = "" if clip is None else clip.label
    return Finding(
        code=code,
        line=0 if clip is None else clip.line,
        filename="" if clip is None else clip.filename,
        message=message,
        severity=severity or FINDING_KINDS[code].severity,
        label=own_label if label is None else label,
        suggested=suggested,
        confidence=confidence,
    )


def format_clip_count(n: int) -> str:
    """``1 clip`` or ``n clips``."""
    return f"{n} clip{'s' * (n != 1)}"


def finding_from_problem(problem: ClipProblem) -> Finding:
    """An unusable row as a finding."""
    return Finding(problem.code, problem.line, problem.filename, problem.message, "error")


def group_by_kind(findings: Iterable[Finding]) -> list[tuple[Severity, FindingKind, list[Finding]]]:
    """Group findings by severity and kind, most severe first; stable within groups."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    order = list(FINDING_KINDS)

    def rank(item: tuple[tuple[Severity, str], list[Finding]]) -> tuple[int, int]:
        severity, code = item[0]
        return SEVERITIES.index(severity), order.index(code) if code in order else 1

    return [
        (severity, group[0].kind, group)
        for (severity, _), group in sorted(groups.items(), key=rank)
    ]
