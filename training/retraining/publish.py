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
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import Plan
from earful.training.retraining.plan_retraining import PlannedRetraining
from earful.training.trainer.checkpoint import BEST_CHECKPOINT

_ALIAS_ACTIONS = ("promote", "challenge", "rollback")


def publish(
    job: RetrainJob,
    planned: PlannedRetraining,
    plan: Plan,
    folder: Path,
    predictions: Sequence[PairedPrediction],
    gate_result: GateResult,
) -> Version:
    """Register the candidate in ``folder``: as champion if it passed and may be, else challenger.

    Raises:
        RegistryError: it cannot be written, or another champion was promoted meanwhile.
    """
    base = planned.base.version
    note = _version_note(job.source, plan)
    private = {row.path for row in plan.rows if row.provenance.origin == FEEDBACK}
    model_files = version_files(
        folder / MODEL_FILE,
        _test_metrics(predictions).to_dict(),
        plan.rows,
        note,
        checkpoint=folder / "run" / BEST_CHECKPOINT,
    )
    reports = report_files(job.name, base, plan, predictions, gate_result, private)
    return job.registry.register(
        job.name,
        {**model_files, **reports},
        parent=base.number,
        request_hash=planned.request_hash,
        note=note,
        alias=CHAMPION if gate_result.passed and job.promote else CHALLENGER,
        expected_champion=base.number,
    )


def _version_note(source: str, plan: Plan) -> str:
    return (
        f"retrained with {source}: {plan.added} clips added, {plan.corrected} corrected, "
        f"{plan.removed + plan.deleted_feedback} removed"
    )


def _test_metrics(predictions: Sequence[PairedPrediction]) -> ClassificationMetrics:
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
