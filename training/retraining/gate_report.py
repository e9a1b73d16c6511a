"""Reports of the gate: gate.json and report.html."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from earful.data.atomic_write import json_bytes
from earful.data.labels.clip import Clip
from earful.models.registry.records import Version
from earful.models.registry.registry import Registry
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import ClipMedia, load_labelled_clip
from earful.training.reports.html_page import render_page
from earful.training.retraining.gate import GateCheck, GateResult, PairedPrediction
from earful.training.retraining.plan import Plan

GATE, REPORT = "gate.json", "report.html"
# Clips with media in each section: keeps the page at a few megabytes.
_MAX_CLIPS = 12


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
    rows = [(check, *_interval(check)) for check in gate_result.checks]
    return render_page(
        "retrain.html",
        name=name,
        base=base,
        plan=plan,
        gate_result=gate_result,
        overall=rows[0],
        groups=[
            (kind, [row for row in rows if row[0].kind == kind])
            for kind in ("label", "speaker", "new label")
        ],
        lost=_with_media(lost, private),
        won=_with_media(won, private),
        n_lost=len(lost),
        n_won=len(won),
    )


def _interval(check: GateCheck) -> tuple[float, float]:
    """The 95 % interval (Wilson) of the candidate's accuracy; all of it without a clip."""
    if not check.clips:
        return 0.0, 1.0
    return wilson_interval(round(check.candidate * check.clips), check.clips)


def _with_media(
    predictions: Sequence[PairedPrediction], private: Collection[Path]
) -> list[tuple[PairedPrediction, ClipMedia]]:
    return [(pair, _clip_media(pair.clip, private)) for pair in predictions[:_MAX_CLIPS]]


def _clip_media(clip: Clip, private: Collection[Path]) -> ClipMedia:
    if clip.path in private:
        return ClipMedia(missing="no audio: recordings of feedback are not copied")
    return load_labelled_clip(clip)


def gate_failures(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """The gate failures of a version; empty if it passed or was not compared."""
    if GATE not in version.files:
        return ()
    checks = json.loads(registry.read(name, version, GATE))["checks"]
    return tuple(check["reason"] for check in checks if not check["passed"])
