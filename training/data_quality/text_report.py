"""The report of ``earful check`` as text, and suggested label corrections as CSV."""

from pathlib import Path

from earful.data.atomic_write import OutputError, staged_file
from earful.data.text.formula_cells import write_csv
from earful.data.text.printable import printable
from earful.training.data_quality.finding import Finding, group_by_kind
from earful.training.data_quality.run_checks import DataQualityReport

# Findings listed per kind; --json lists all.
MAX_LISTED = 10
_COLUMNS = ("filename", "label", "suggested", "confidence", "line", "code")


def check_outputs(labels_csv: Path, *, html: Path | None, suggestions: Path | None) -> None:
    """Check the output paths before any work, so that no labels or recordings are overwritten.

    Raises:
        OutputError: wrong file extension, or the labels CSV itself.
    """
    for option, path, suffix in (("--html", html, ".html"), ("--suggestions", suggestions, ".csv")):
        if path is not None and path.suffix.lower() != suffix:
            raise OutputError(f"{option} needs a file name that ends in {suffix}, found {path}")
        if path is not None and path.resolve() == labels_csv.resolve():
            raise OutputError(f"{path} is the labels CSV; give another {option}")


def format_report(quality: DataQualityReport, max_listed: int = MAX_LISTED) -> str:
    """Counts, findings by kind with the most severe first, and totals."""
    lines = [*quality.report.summary_lines(), label_error_sentence(quality)]
    for severity, kind, findings in group_by_kind(quality.findings):
        lines += ["", f"{severity}: {kind.title} [{kind.code}], {len(findings)}"]
        lines += [f"  {_format_finding(finding)}" for finding in findings[:max_listed]]
        if len(findings) > max_listed:
            lines.append(f"  and {len(findings) - max_listed} more")
        lines.append(f"  -> {kind.advice}")
    return "\n".join([*map(printable, lines), "", format_totals(quality)])


# With fewer clips, confidence is low: by the spectrum alone, of 400 clips a sixth of the errors is
# missed, of 72 all.
FEW_CHECKED_CLIPS = 400


def label_error_sentence(quality: DataQualityReport) -> str:
    """Summary of the check for label errors, in one sentence."""
    summary = quality.label_errors
    if summary.error_rate is None:
        return f"labels were not checked for errors: {summary.reason}"
    sentence = (
        f"labels of {summary.clips} clips checked by {summary.compared_by}: an estimated "
        f"{100 * summary.error_rate:.1f} % are wrong"
    )
    if summary.clips < FEW_CHECKED_CLIPS:
        sentence += "; with so few clips many errors are missed, see also `earful map`"
    return sentence


def format_totals(quality: DataQualityReport) -> str:
    """Number of findings by severity."""
    counts = {name: n for name, n in quality.counts().items() if n}
    if not counts:
        return "no problems found"
    totals = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    return totals if quality.needs_attention else f"no problems found ({totals})"


def write_suggestions(quality: DataQualityReport, path: Path, *, mark: bool = True) -> int:
    """Write the clips with a suggested label as CSV; returns their number.

    Columns: ``filename, label, suggested, confidence, line, code``. To apply corrections, listen,
    then edit ``label`` or remove the row.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    rows = [finding for finding in quality.findings if finding.suggested]
    with staged_file(path) as staging:
        write_csv(staging, _COLUMNS, map(_suggestion, rows), mark=mark)
    return len(rows)


def _suggestion(finding: Finding) -> tuple[object, ...]:
    confidence = "" if finding.confidence is None else f"{finding.confidence:.4f}"
    suggested = (finding.suggested, confidence)
    return (finding.filename, finding.label, *suggested, finding.line, finding.code)


def _format_finding(finding: Finding) -> str:
    return f"{finding.location}: {finding.message}" if finding.location else finding.message
