"""The version of a candidate in the registry: its files, and that of a repeated request."""

import json
from collections.abc import Sequence
from pathlib import Path

from earful.data.labels.multilabel import sort_labels
from earful.models.registry.records import CHALLENGER, CHAMPION, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.metrics.classification import ClassificationMetrics, compute_metrics
from earful.training.releases.register import version_files
from earful.training.retraining.gate import GateResult, PairedPrediction
from earful.training.retraining.gate_report import GATE, report_files
from earful.training.retraining.plan import Plan
from earful.training.trainer.checkpoint import BEST_CHECKPOINT

_ALIAS_ACTIONS = ("promote", "challenge", "rollback")


def candidate_files(
    name: str,
    folder: Path,
    plan: Plan,
    base: Version,
    predictions: Sequence[PairedPrediction],
    gate_result: GateResult,
    *,
    note: str,
) -> dict[str, bytes]:
    """The files of the candidate's version, by file name.

    ``folder`` is the work folder of the retraining, ``base`` the champion it is compared with.
    """
    private = {row.path for row in plan.rows if row.provenance.origin == FEEDBACK}
    model_files = version_files(
        folder / MODEL_FILE,
        candidate_metrics(predictions).to_dict(),
        plan.rows,
        note,
        checkpoint=folder / "run" / BEST_CHECKPOINT,
    )
    return {**model_files, **report_files(name, base, plan, predictions, gate_result, private)}


def version_note(source: str, plan: Plan) -> str:
    """The note of the candidate's version."""
    return (
        f"retrained with {source}: {plan.added} clips added, {plan.corrected} corrected, "
        f"{plan.removed + plan.deleted_feedback} removed"
    )


def candidate_metrics(predictions: Sequence[PairedPrediction]) -> ClassificationMetrics:
    """Metrics of the candidate on the frozen test set."""
    expected = [pair.clip.label for pair in predictions]
    predicted = [pair.candidate for pair in predictions]
    speakers = [pair.clip.speaker for pair in predictions]
    return compute_metrics(expected, predicted, speakers, sort_labels([*expected, *predicted]))


def find_existing(
    registry: Registry, name: str, request_hash: str, base: Version
) -> Version | None:
    """The version registered by the same request with the same champion, if any."""
    for version in registry.versions(name):
        if version.request_hash == request_hash and version.parent == base.number:
            return version
    return None


def restore_alias(
    registry: Registry, name: str, existing: Version, base: Version, *, promote: bool
) -> None:
    """Set the alias that an interrupted run did not set; never one that was moved since."""
    events = registry.events(name)
    if any(event.version == existing.number and event.action in _ALIAS_ACTIONS for event in events):
        return
    passed = json.loads(registry.read(name, existing, GATE))["passed"]
    alias = CHAMPION if passed and promote else CHALLENGER
    registry.assign_alias(
        name, alias, existing.number, existing.note, expected_champion=base.number
    )
