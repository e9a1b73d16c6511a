"""The report of ``earful check`` as one self-contained HTML file with audio."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import write_text
from earful.data.labels.clip import Clip
from earful.training.data_quality.finding import Finding, FindingKind, Severity, group_by_kind
from earful.training.data_quality.run_checks import DataQualityReport
from earful.training.data_quality.text_report import label_error_sentence
from earful.training.reports.html_clips import ClipMedia, load_labelled_clip
from earful.training.reports.html_page import render_page

# Listed findings of a kind, besides those with a player.
_MAX_LISTED = 500


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one kind: ``clips`` have media, ``listed`` are text, the rest is counted."""

    severity: Severity
    kind: FindingKind
    total: int
    clips: list[tuple[Finding, ClipMedia]]
    listed: list[Finding]

    @property
    def n_omitted(self) -> int:
        return self.total - len(self.clips) - len(self.listed)


def write_quality_page(
    quality: DataQualityReport, labels_csv: Path, out: Path, *, clips: int = 24
) -> None:
    """Write the page, with media for the first ``clips`` findings of each kind.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    report = quality.report
    page = render_page(
        "check.html",
        name=labels_csv.name,
        report=report,
        counts=quality.counts(),
        label_errors=label_error_sentence(quality),
        max_count=max([*report.by_label.values(), 1]),
        groups=[
            _group(severity, kind, findings, quality.clips, clips)
            for severity, kind, findings in group_by_kind(quality.findings)
        ],
    )
    write_text(out, page)


def _group(
    severity: Severity,
    kind: FindingKind,
    findings: list[Finding],
    clip_by_line: dict[int, Clip],
    max_clips: int,
) -> FindingGroup:
    playable = [finding for finding in findings if finding.line in clip_by_line][:max_clips]
    played = [(found, load_labelled_clip(clip_by_line[found.line])) for found in playable]
    played_ids = {id(finding) for finding in playable}
    listed = [finding for finding in findings if id(finding) not in played_ids][:_MAX_LISTED]
    return FindingGroup(severity, kind, len(findings), played, listed)
