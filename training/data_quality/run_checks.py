"""Run all checks on a labels CSV: files, labels, duplicates, splits, likely label errors."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.validate import CheckReport
from earful.data.labels.clip import Clip
from earful.data.labels.multilabel import has_multiple_labels, sort_labels
from earful.training.data_quality import label_errors
from earful.training.data_quality.duplicates import (
    check_duplicates,
    check_speakers,
    drop_ambiguous_duplicates,
)
from earful.training.data_quality.file_checks import check_files
from earful.training.data_quality.finding import (
    ATTENTION_SEVERITIES,
    SEVERITIES,
    Finding,
    finding_from_problem,
    format_clip_count,
    make_finding,
)
from earful.training.data_quality.label_checks import check_balance, check_label_names
from earful.training.data_quality.measure_clip import ClipMeasurement
from earful.training.data_quality.measure_dataset import MeasuredDataset

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelErrorSummary:
    """Number of clips checked for label errors, and their estimated error rate.

    ``error_rate`` is None where no clips were checked; ``reason`` says why. ``compared_by`` is
    ``spectrum`` or ``spectrum and speech encoder``.
    """

    clips: int
    error_rate: float | None
    reason: str = ""
    compared_by: str = ""


@dataclass(frozen=True)
class DataQualityReport:
    """Counts of a labels CSV, all findings, and its usable clips by line."""

    report: CheckReport
    findings: tuple[Finding, ...]
    label_errors: LabelErrorSummary
    clips: dict[int, Clip] = field(repr=False)

    @property
    def needs_attention(self) -> bool:
        """Whether there are errors or warnings."""
        return any(finding.severity in ATTENTION_SEVERITIES for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Number of findings of each severity."""
        by_severity = Counter(finding.severity for finding in self.findings)
        return {severity: by_severity[severity] for severity in SEVERITIES}

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful check --json``."""
        return {
            **self.report.to_dict(),
            "needs_attention": self.needs_attention,
            "counts": self.counts(),
            "findings": [finding.to_dict() for finding in self.findings],
            "label_errors": vars(self.label_errors),
        }


def run_checks(
    dataset: MeasuredDataset, *, wrong_labels: bool, progress: ProgressCallback
) -> DataQualityReport:
    """All findings; ``wrong_labels`` includes the check for label errors."""
    measurements = dataset.measurements
    clips = [measurement.clip for measurement in measurements]
    findings = [
        *map(finding_from_problem, dataset.report.problems),
        *check_label_names(clips),
        *check_balance(clips),
        *check_duplicates(measurements),
        *check_speakers(clips),
        *check_files(measurements),
    ]
    summary = LabelErrorSummary(0, None, "disabled by --no-wrong-labels")
    if wrong_labels:
        suspects, summary = find_label_errors(measurements, canonical_labels(findings), progress)
        findings += suspects
    return DataQualityReport(
        dataset.report, _sort_findings(findings), summary, {clip.line: clip for clip in clips}
    )


def canonical_labels(findings: Iterable[Finding]) -> dict[str, str]:
    """Map labels that are typos or variants to the suggested label."""
    codes = ("label_variant", "label_typo")
    return {f.label: f.suggested for f in findings if f.code in codes}


def find_label_errors(
    measurements: Sequence[ClipMeasurement], canonical: dict[str, str], progress: ProgressCallback
) -> tuple[list[Finding], LabelErrorSummary]:
    """Findings on likely label errors, and notes on labels that cannot be checked.

    ``canonical`` maps variants and typos to the label they count as.
    """
    n_multi_label = sum(has_multiple_labels(measurement.clip.label) for measurement in measurements)
    if n_multi_label:
        reason = (
            f"{n_multi_label} clips have several labels, and the check needs clips with one label"
        )
        return [], LabelErrorSummary(0, None, reason)
    distinct = drop_ambiguous_duplicates(measurements)
    canonical_names = [
        canonical.get(measurement.clip.label, measurement.clip.label) for measurement in distinct
    ]
    counts = Counter(canonical_names)
    labels = sort_labels(
        label for label, n in counts.items() if n >= label_errors.MIN_CLIPS_PER_LABEL
    )
    notes = [_label_not_checked(label, n) for label, n in counts.items() if label not in labels]
    if len(labels) < 2:
        reason = f"it needs two labels with {label_errors.MIN_CLIPS_PER_LABEL} clips or more"
        return notes, LabelErrorSummary(0, None, reason)
    code = {label: number for number, label in enumerate(labels)}
    checked = [
        (measurement, code[label])
        for measurement, label in zip(distinct, canonical_names, strict=True)
        if label in code
    ]
    estimate = label_errors.estimate_label_errors(
        thumbnails=np.stack([measurement.thumbnail for measurement, _ in checked]),
        encoder_vectors=stack_encoder_vectors([measurement for measurement, _ in checked]),
        label_codes=np.array([label_code for _, label_code in checked]),
        n_labels=len(labels),
        progress=progress,
    )
    suspects = [
        _label_error_finding(measurement.clip, labels[suggested], probability)
        for (measurement, _), suggested, probability in zip(
            checked, estimate.suggested, estimate.error_probability, strict=True
        )
        if probability > label_errors.ERROR_PROBABILITY_THRESHOLD
    ]
    summary = LabelErrorSummary(
        clips=len(checked),
        error_rate=round(estimate.error_rate, 4),
        compared_by="spectrum and speech encoder" if estimate.used_encoder else "spectrum",
    )
    return [*suspects, *notes], summary


def stack_encoder_vectors(measurements: Sequence[ClipMeasurement]) -> NDArray[np.float32] | None:
    """Encoder vectors (clips, 288); None unless every clip has one."""
    vectors = [measurement.encoder_vector for measurement in measurements]
    found = [vector for vector in vectors if vector is not None]
    return np.stack(found) if vectors and len(found) == len(vectors) else None


def _label_not_checked(label: str, n_clips: int) -> Finding:
    message = (
        f"{label!r} has {format_clip_count(n_clips)} with distinct audio; the check for label "
        f"errors needs {label_errors.MIN_CLIPS_PER_LABEL}"
    )
    return make_finding("not_checked", message, label=label)


def _label_error_finding(clip: Clip, suggested: str, probability: float) -> Finding:
    confidence = round(float(probability), 4)
    message = f"labelled {clip.label!r}, likely {suggested!r} (confidence {100 * confidence:.0f} %)"
    return make_finding("label_error", message, clip, suggested=suggested, confidence=confidence)


def _sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Sort by severity, descending confidence, and line."""
    return tuple(
        sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), -(f.confidence or 0), f.line))
    )
