"""What a finding is, and the kinds there are: code, how bad it is, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.labels.labels_csv import ClipProblem

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# What needs attention; a note is for those who want to know.
ATTENTION: frozenset[Severity] = frozenset({"error", "warning"})


@dataclass(frozen=True)
class Kind:
    """A kind of finding; the code is stable, the rest is for people."""

    code: str
    severity: Severity
    title: str
    advice: str


KINDS = {
    kind.code: kind
    for kind in (
        Kind("bad_row", "error", "rows that cannot be used", "mend the row in the CSV"),
        Kind(
            "not_found", "error", "files that are not there",
            "put the file there, mend its name, or remove the row",
        ),
        Kind(
            "conflicting_labels", "error", "the same sound under different labels",
            "listen, and keep one row with the right label",
        ),
        Kind(
            "leaked_audio", "error", "the same sound on both sides of a split",
            "keep it on one side, or the test measures memory",
        ),
        Kind(
            "single_clip_label", "error", "labels with one clip",
            "add clips of the label, or remove the row: it cannot be both learnt and tested",
        ),
        Kind(
            "wrong_label", "warning", "labels that are likely wrong",
            "listen to the clip, and correct the label where it is wrong",
        ),
        Kind(
            "label_typo", "warning", "labels that are likely misspelt",
            "correct the label, or leave it if it is a word of its own",
        ),
        Kind(
            "label_form", "warning", "labels that differ in case, spaces or form only",
            "write the label one way: as it stands these are two labels",
        ),
        Kind(
            "leaked_speaker", "warning", "speakers on both sides of a split",
            "move all clips of a speaker to one side to measure on new voices "
            "(prepare --split speaker does)",
        ),
        Kind(
            "duplicate", "warning", "the same sound more than once",
            "keep one row: a copy counts twice in training and may end up on both sides of a split",
        ),
        Kind(
            "silent", "warning", "clips without sound",
            "record the clip again, or remove the row",
        ),
        Kind(
            "clipped", "warning", "clipped clips",
            "record with less gain, or remove the clip if it is hard to understand",
        ),
        Kind(
            "short_clip", "warning", "clips that are too short",
            "see whether the clip was cut badly, or give other start and end times",
        ),
        Kind(
            "long_clip", "warning", "clips that are too long",
            "cut the clip to the sound it is named after (columns start and end), or split it",
        ),
        Kind(
            "imbalance", "warning", "labels with few clips beside the others",
            "collect more clips of the label, or expect it to be recognised worse",
        ),
        Kind(
            "dominant_label", "note", "labels with most of the clips",
            "accuracy will say little of the other labels; look at macro F1",
        ),
        Kind(
            "mixed_rates", "note", "more than one sample rate",
            "nothing is needed: prepare resamples; what is recorded at a low rate lacks the "
            "frequencies above half of it",
        ),
        Kind(
            "rate_tells_label", "warning", "sample rates that give the label away",
            "record the labels alike: a network may learn the rate in place of the sound",
        ),
        Kind(
            "dc_offset", "note", "clips with an offset (DC)",
            "nothing is needed for training; it hints at a bad sound card",
        ),
        Kind(
            "not_judged", "note", "labels that were not judged",
            "add clips, and wrong labels can be looked for",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was found: the row it is about (line 0: the whole set), and what it is.

    ``suggested`` and ``confidence`` (0 to 1, that ``label`` is wrong) are those of what may be
    corrected by another label.
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
    def kind(self) -> Kind:
        """Other codes are those of ``data.audio.decode``: files that cannot be used."""
        return KINDS.get(self.code) or Kind(
            self.code, "error", f"audio that cannot be used ({self.code})",
            "mend the file, or remove the row",
        )  # fmt: skip

    @property
    def where(self) -> str:
        named = (f"line {self.line}" if self.line else "", self.filename)
        return ", ".join(part for part in named if part)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "advice": self.kind.advice}


def found(
    code: str, message: str, line: int = 0, filename: str = "", *, severity: Severity | None = None,
    label: str = "", suggested: str = "", confidence: float | None = None,
) -> Finding:  # fmt: skip
    """A finding of one of ``KINDS``, with its severity unless another is given."""
    return Finding(
        code, line, filename, message, severity or KINDS[code].severity, label, suggested,
        confidence,
    )  # fmt: skip


def clips_of(n: int) -> str:
    """So many clips, in words."""
    return f"{n} clip{'s' * (n != 1)}"


def of_problem(problem: ClipProblem) -> Finding:
    return Finding(problem.code, problem.line, problem.filename, problem.message, "error")


def by_kind(findings: Iterable[Finding]) -> list[tuple[Severity, Kind, list[Finding]]]:
    """Findings grouped by severity and kind, the gravest first, the order of each group kept."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    order = list(KINDS)

    def rank(item: tuple[tuple[Severity, str], list[Finding]]) -> tuple[int, int]:
        severity, code = item[0]
        return SEVERITIES.index(severity), order.index(code) if code in order else 1

    return [(s, group[0].kind, group) for (s, _), group in sorted(groups.items(), key=rank)]
