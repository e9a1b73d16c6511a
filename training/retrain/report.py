"""Champion and candidate side by side: gate.json for scripts, report.html for people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from models.registry.records import Version
from training.metrics import wilson_interval
from training.retrain.gate import Answered, Check, Verdict
from training.retrain.plan import Plan
from training.shown import Shown, show, templates

GATE, REPORT = "gate.json", "report.html"
# Of each kind, so many can be played: a page of a few megabytes.
_MOST_CLIPS = 12


@dataclass(frozen=True)
class Line:
    """A comparison as the page shows it; shares in percent."""

    check: Check
    champion: float | None
    candidate: float
    low: float
    high: float

    @classmethod
    def of(cls, check: Check) -> "Line":
        low, high = wilson_interval(round(check.candidate * check.clips), check.clips)
        before = None if check.champion is None else 100 * check.champion
        return cls(check, before, 100 * check.candidate, 100 * low, 100 * high)


def report_files(
    name: str, base: Version, plan: Plan, answers: Sequence[Answered], verdict: Verdict
) -> dict[str, bytes]:
    """What a version keeps of how it was compared with the champion."""
    gate = {"champion": base.number, **verdict.to_dict(), "plan": plan.to_dict()}
    text = json.dumps(gate, indent=2, ensure_ascii=False) + "\n"
    return {GATE: text.encode(), REPORT: page(name, base, plan, answers, verdict).encode()}


def page(
    name: str, base: Version, plan: Plan, answers: Sequence[Answered], verdict: Verdict
) -> str:
    """The report as one HTML file without links to others."""
    known = [answer for answer in answers if answer.champion is not None]
    lost = [a for a in known if a.champion == a.clip.label != a.candidate]
    won = [a for a in known if a.candidate == a.clip.label != a.champion]
    lines = [Line.of(check) for check in verdict.checks]
    return templates().get_template("retrain.html").render(
        name=name, base=base, plan=plan, verdict=verdict, overall=lines[0],
        groups=[
            (kind, [line for line in lines if line.check.kind == kind])
            for kind in ("label", "speaker", "new label")
        ],
        lost=_heard(lost), won=_heard(won), n_lost=len(lost), n_won=len(won),
    )  # fmt: skip


def _heard(answers: Sequence[Answered]) -> list[tuple[Answered, Shown]]:
    return [(answer, show(answer.clip.path, _stretch(answer))) for answer in answers[:_MOST_CLIPS]]


def _stretch(answer: Answered) -> tuple[float, float] | None:
    start, end = answer.clip.start_seconds, answer.clip.end_seconds
    return None if start is None or end is None else (start, end)
