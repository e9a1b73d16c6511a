"""Champion and candidate side by side: gate.json for scripts, report.html for people."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.labels.labels_csv import Clip
from earful.models.registry.records import Version
from earful.training.metrics.classification import wilson_interval
from earful.training.reports.html_clips import Shown, show, templates
from earful.training.retraining.gate import Answered, Check, Verdict
from earful.training.retraining.plan import Plan

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
    name: str, base: Version, plan: Plan, answers: Sequence[Answered], verdict: Verdict,
    private: Collection[Path],
) -> dict[str, bytes]:  # fmt: skip
    """What a version keeps of how it was compared with the champion.

    Of ``private`` files, which somebody may want to have deleted, no sound is copied.
    """
    gate = {"champion": base.number, **verdict.to_dict(), "plan": plan.to_dict()}
    text = json.dumps(gate, indent=2, ensure_ascii=False) + "\n"
    return {GATE: text.encode(), REPORT: page(name, base, plan, answers, verdict, private).encode()}


def page(
    name: str, base: Version, plan: Plan, answers: Sequence[Answered], verdict: Verdict,
    private: Collection[Path] = (),
) -> str:  # fmt: skip
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
        lost=_heard(lost, private), won=_heard(won, private), n_lost=len(lost), n_won=len(won),
    )  # fmt: skip


def _heard(answers: Sequence[Answered], private: Collection[Path]) -> list[tuple[Answered, Shown]]:
    return [(answer, _shown(answer.clip, private)) for answer in answers[:_MOST_CLIPS]]


def _shown(clip: Clip, private: Collection[Path]) -> Shown:
    if clip.path in private:
        return Shown(missing="of the feedback, which is not copied")
    start, end = clip.start_seconds, clip.end_seconds
    return show(clip.path, None if start is None or end is None else (start, end))
