"""The files, note and metrics of a candidate's version in the registry."""

from collections.abc import Sequence
from pathlib import Path

from earful.data.labels.multilabel import sort_labels
from earful.models.registry.records import MODEL_FILE, Version
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.metrics.classification import ClassificationMetrics, compute_metrics
from earful.training.releases.register import version_files
from earful.training.retraining.gate import GateResult, PairedPrediction
from earful.training.retraining.gate_report import report_files
from earful.training.retraining.plan import Plan
from earful.training.trainer.checkpoint import BEST_CHECKPOINT


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
    private = {row.path for row in plan.rows if row.origin == FEEDBACK}
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
