"""Findings of ``earful check`` and their kinds: code, severity, title and advice."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.labels.clip import ClipProblem

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


_KINDS = (
    FindingKind(
        code="bad_row",
        severity="error",
        title="rows that cannot be used",
        advice="correct the row in the CSV",
    ),
    FindingKind(
        code="not_found",
        severity="error",
        title="missing files",
        advice="add the file, correct its name, or remove the row",
    ),
    FindingKind(
        code="conflicting_labels",
        severity="error",
        title="the same audio with different labels",
        advice="listen, and keep one row with the correct label",
    ),
    FindingKind(
        code="leaked_audio",
        severity="error",
        title="the same audio in several splits",
        advice="keep it in one split; test accuracy is too high otherwise",
    ),
    FindingKind(
        code="single_clip_label",
        severity="error",
        title="labels with one clip",
        advice="add clips of the label, or remove the row: it cannot be in both training and test",
    ),
    FindingKind(
        code="label_error",
        severity="warning",
        title="likely label errors",
        advice="listen to the clip, and correct the label if it is wrong",
    ),
    FindingKind(
        code="label_typo",
        severity="warning",
        title="likely misspelt labels",
        advice="correct the label, or keep it if it is a different word",
    ),
    FindingKind(
        code="label_variant",
        severity="warning",
        title="labels that differ only in case, spaces or form",
        advice="write the label one way: these count as two labels",
    ),
    FindingKind(
        code="leaked_speaker",
        severity="warning",
        title="speakers in several splits",
        advice="move all clips of a speaker to one split to test on new speakers (as prepare "
        "--split speaker does)",
    ),
    FindingKind(
        code="duplicate",
        severity="warning",
        title="duplicate audio",
        advice="keep one row: copies count twice in training and may be in two splits",
    ),
    FindingKind(
        code="silent",
        severity="warning",
        title="silent clips",
        advice="record the clip again, or remove the row",
    ),
    FindingKind(
        code="clipped",
        severity="warning",
        title="clips with clipping",
        advice="record with less gain, or remove the clip if it is hard to understand",
    ),
    FindingKind(
        code="short_clip",
        severity="warning",
        title="clips that are too short",
        advice="check whether the clip is cut off, or give other start and end times",
    ),
    FindingKind(
        code="long_clip",
        severity="warning",
        title="clips that are too long",
        advice="trim the clip to the labelled sound (columns start and end), or split it",
    ),
    FindingKind(
        code="imbalance",
        severity="warning",
        title="labels with few clips",
        advice="collect more clips of the label, or expect lower accuracy for it",
    ),
    FindingKind(
        code="dominant_label",
        severity="note",
        title="labels with most of the clips",
        advice="accuracy says little about the other labels; use macro F1",
    ),
    FindingKind(
        code="mixed_rates",
        severity="note",
        title="mixed sample rates",
        advice="no action needed: prepare resamples; clips of a low rate have no frequencies "
        "above half of it",
    ),
    FindingKind(
        code="sample_rate_leak",
        severity="warning",
        title="sample rates that reveal the label",
        advice="record all labels at the same rate: a network may learn the rate instead of "
        "the sound",
    ),
    FindingKind(
        code="dc_offset",
        severity="note",
        title="clips with DC offset",
        advice="no action needed for training; it may indicate a faulty sound card",
    ),
    FindingKind(
        code="not_checked",
        severity="note",
        title="labels not checked for errors",
        advice="add clips of the label to check them",
    ),
)
FINDING_KINDS = {kind.code: kind for kind in _KINDS}


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
    line: int = 0,
    filename: str = "",
    *,
    severity: Severity | None = None,
    label: str = "",
    suggested: str = "",
    confidence: float | None = None,
) -> Finding:
    """A finding of one of ``FINDING_KINDS``, by default with the severity of its kind."""
    return Finding(
        code=code,
        line=line,
        filename=filename,
        message=message,
        severity=severity or FINDING_KINDS[code].severity,
        label=label,
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
