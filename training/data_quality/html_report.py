"""What was found as one HTML file to look at and listen to: it needs no other file, no network."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.labels.labels_csv import Clip
from earful.training.data_quality.finding import Finding, Kind, Severity, by_kind
from earful.training.data_quality.run_checks import Diagnosis
from earful.training.data_quality.text_report import told_judged
from earful.training.reports.html_clips import Shown, show, templates

# Of what is not played, so many rows of a kind are listed.
_LISTED = 500


@dataclass(frozen=True)
class Group:
    """Findings of one kind: ``clips`` to be heard, ``others`` to be read, ``left_out`` counted."""

    severity: Severity
    kind: Kind
    total: int
    clips: list[tuple[Finding, Shown]]
    others: list[Finding]

    @property
    def left_out(self) -> int:
        return self.total - len(self.clips) - len(self.others)


def write_page(diagnosis: Diagnosis, labels_csv: Path, out: Path, *, clips: int = 24) -> None:
    """Write the page; of each kind the first ``clips`` that can be played are.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    report = diagnosis.report
    page = (
        templates()
        .get_template("check.html")
        .render(
            name=labels_csv.name,
            report=report,
            counts=diagnosis.counts(),
            judged=told_judged(diagnosis),
            most=max([*report.by_label.values(), 1]),
            groups=[
                _group(severity, kind, findings, diagnosis.clips, clips)
                for severity, kind, findings in by_kind(diagnosis.findings)
            ],
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")


def _group(
    severity: Severity, kind: Kind, findings: list[Finding], known: dict[int, Clip], most: int
) -> Group:
    playable = [finding for finding in findings if finding.line in known][:most]
    heard = [(finding, _show(known[finding.line])) for finding in playable]
    played = {id(finding) for finding in playable}
    others = [finding for finding in findings if id(finding) not in played][:_LISTED]
    return Group(severity, kind, len(findings), heard, others)


def _show(clip: Clip) -> Shown:
    if clip.start_seconds is None or clip.end_seconds is None:
        return show(clip.path)
    return show(clip.path, (clip.start_seconds, clip.end_seconds))
