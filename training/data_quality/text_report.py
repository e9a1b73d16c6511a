"""What was found as text for a person, and suspects as a CSV to correct."""

import csv
from pathlib import Path

from earful.data.atomic_write import OutputError, staged_file
from earful.training.data_quality.finding import Finding, by_kind
from earful.training.data_quality.run_checks import Diagnosis

# Of each kind so many are told on a screen; --json and --html tell more.
SHOWN = 10
_COLUMNS = ("filename", "label", "suggested", "confidence", "line", "code")


def check_outputs(labels_csv: Path, *, html: Path | None, suggestions: Path | None) -> None:
    """Refuse, before any work, to write over the labels or a recording.

    Raises:
        OutputError: an output does not end as its kind does, or is the labels CSV.
    """
    for option, path, suffix in (("--html", html, ".html"), ("--suggestions", suggestions, ".csv")):
        if path is not None and path.suffix.lower() != suffix:
            raise OutputError(f"{option} is a file that ends in {suffix}, found {path}")
        if path is not None and path.resolve() == labels_csv.resolve():
            raise OutputError(f"{path} holds the labels; give another {option}")


def text(diagnosis: Diagnosis, shown: int = SHOWN) -> str:
    """The counts, then what was found by kind, the gravest first, then the sum."""
    lines = [*diagnosis.report.summary_lines(), told_judged(diagnosis)]
    for severity, kind, findings in by_kind(diagnosis.findings):
        lines += ["", f"{severity}: {kind.title} [{kind.code}], {len(findings)}"]
        lines += [f"  {_line(finding)}" for finding in findings[:shown]]
        if len(findings) > shown:
            lines.append(f"  and {len(findings) - shown} more")
        lines.append(f"  -> {kind.advice}")
    return "\n".join([*map(printable, lines), "", told_sum(diagnosis)])


# With fewer, what speaks for a wrong label is seldom sure: of 400 a sixth is missed, of 72 all.
FEW_CLIPS = 400


def told_judged(diagnosis: Diagnosis) -> str:
    """In a sentence, how wrong labels were looked for."""
    judged = diagnosis.judged
    if judged.share is None:
        return f"wrong labels were not looked for: {judged.reason}"
    told = (
        f"{judged.clips} clips judged by the others: about {100 * judged.share:.1f} % of the "
        "labels may be wrong"
    )
    if judged.clips < FEW_CLIPS:
        told += "; of so few clips it lists the surest only, `earful map` shows more to listen to"
    return told


def told_sum(diagnosis: Diagnosis) -> str:
    counts = {name: n for name, n in diagnosis.counts().items() if n}
    if not counts:
        return "no problem found"
    told = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    return told if diagnosis.needs_attention else f"no problem found ({told})"


def write_suggestions(diagnosis: Diagnosis, path: Path) -> int:
    """Write a CSV of clips whose label may be corrected; gives how many there are.

    Columns ``filename, label, suggested, confidence, line, code``: who has listened corrects
    ``label`` or removes the row.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    rows = [finding for finding in diagnosis.findings if finding.suggested]
    with (
        staged_file(path) as staging,
        staging.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for f in rows:
            sure = "" if f.confidence is None else f"{f.confidence:.4f}"
            writer.writerow([f.filename, f.label, f.suggested, sure, f.line, f.code])
    return len(rows)


def printable(line: str) -> str:
    """A line without what a terminal would obey: file names come from elsewhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _line(finding: Finding) -> str:
    return f"{finding.where}: {finding.message}" if finding.where else finding.message
