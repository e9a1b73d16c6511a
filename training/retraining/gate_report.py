"""Reports of the gate: gate.json and report.html."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import json_bytes
from earful.data.labels.clip import Clip
from earful.models.registry.records import Version
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import ClipMedia, load_labelled_clip
from earful.training.reports.html_page import render_page
from earful.training.retraining.gate import GateCheck, GateResult, PairedPrediction
from earful.training.retraining.plan import Plan

GATE, REPORT = "gate.json", "report.html"
# Clips with media in each section: keeps the page at a few megabytes.
_MAX_CLIPS = 12


@dataclass(frozen=True)
class GateReportRow:
    """A gate check for the page, in percent, with the candidate's 95 % interval (Wilson)."""

    check: GateCheck
    champion: float | None
    candidate: float
    low: float
    high: float

    @classmethod
    def from_check(cls, check: GateCheck) -> "GateReportRow":
        """Convert the shares of a check to percent."""
        low, high = wilson_interval(round(check.candidate * check.clips), check.clips)
        champion = None if check.champion is None else 100 * check.champion
        return cls(check, champion, 100 * check.candidate, 100 * low, 100 * high)


def report_files(
    name: str,
    base: Version,
    plan: Plan,
    predictions: Sequence[PairedPrediction],
    gate_result: GateResult,
    private: Collection[Path],
) -> dict[str, bytes]:
    """gate.json and report.html of a version, by file name.

    Audio of ``private`` files is not copied, since they may have to be deleted on request.
    """
    gate = {"champion": base.number, **gate_result.to_dict(), "plan": plan.to_dict()}
    return {
        GATE: json_bytes(gate),
        REPORT: render_report(name, base, plan, predictions, gate_result, private).encode(),
    }


def render_report(
    name: str,
    base: Version,
    plan: Plan,
    predictions: Sequence[PairedPrediction],
    gate_result: GateResult,
    private: Collection[Path] = (),
) -> str:
    """The report as one self-contained HTML file."""
    comparable = [pair for pair in predictions if pair.champion is not None]
    lost = [pair for pair in comparable if pair.champion == pair.clip.label != pair.candidate]
    won = [pair for pair in comparable if pair.candidate == pair.clip.label != pair.champion]
    rows = [GateReportRow.from_check(check) for check in gate_result.checks]
    return render_page(
        "retrain.html",
        name=name,
        base=base,
        plan=plan,
        gate_result=gate_result,
        overall=rows[0],
        groups=[
            (kind, [row for row in rows if row.check.kind == kind])
            for kind in ("label", "speaker", "new label")
        ],
        lost=_with_media(lost, private),
        won=_with_media(won, private),
        n_lost=len(lost),
        n_won=len(won),
    )


def _with_media(
    predictions: Sequence[PairedPrediction], private: Collection[Path]
) -> list[tuple[PairedPrediction, ClipMedia]]:
    return [(pair, _clip_media(pair.clip, private)) for pair in predictions[:_MAX_CLIPS]]


def _clip_media(clip: Clip, private: Collection[Path]) -> ClipMedia:
    if clip.path in private:
        return ClipMedia(missing="no audio: recordings of feedback are not copied")
    return load_labelled_clip(clip)
