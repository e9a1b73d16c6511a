"""Plans a retraining: the champion, its data that is still there, and what a request changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earful.data.labels.multilabel import sort_labels
from earful.models.bundle.bundle import open_bundle
from earful.service.core.label_changes import LabelChange
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import ManifestRow
from earful.training.retraining.base import BaseVersion, open_base
from earful.training.retraining.corrections import split_overruling
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import Plan, hash_request, make_plan, read_new_clips


def _is_available(row: ManifestRow) -> bool:
    """Recordings of feedback may be deleted: on request, or when their retention ends."""
    return row.origin != FEEDBACK or row.path.is_file()


@dataclass(frozen=True)
class PlannedRetraining:
    """The champion with its data, and what a request would change.

    plan          None if the champion was made by this request
    request_hash  identifies the request
    kept_labels   curated labels that the request would change and may not
    """

    base: BaseVersion
    plan: Plan | None
    request_hash: str
    kept_labels: tuple[LabelChange, ...]


def plan_retraining(job: RetrainJob) -> PlannedRetraining:
    """Plan a retraining; nothing is written.

    Raises:
        EarfulError: the registry, the labels or the options cannot be used.
    """
    base = open_base(job.registry, job.name)
    metadata = open_bundle(base.model).metadata
    if metadata.score_kind == "sigmoid":
        raise TrainingError(
            f"{job.name} is a multi-label model, and retraining needs one label per clip: merge "
            "the labels with `earful labels merge`, prepare and train a new run (--loss bce), and "
            "register it"
        )
    new_clips, problems = read_new_clips(job.labels, metadata.features, job.source, job.origins)
    remaining_rows = [row for row in base.rows if row.label not in job.options.remove_labels]
    hashed_clips, kept_labels = split_overruling(remaining_rows, new_clips)
    request_hash = hash_request(hashed_clips, job.options)[:16]
    if base.version.request_hash == request_hash:
        return PlannedRetraining(base, None, request_hash, kept_labels)
    available = [row for row in base.rows if _is_available(row)]
    _require_labels_available(base, available, job)
    # Labels whose recordings were all deleted are already removed.
    removed_labels = {row.label for row in base.rows} - {row.label for row in available}
    remaining = tuple(label for label in job.options.remove_labels if label not in removed_labels)
    options = replace(job.options, remove_labels=remaining)
    plan = make_plan(available, hashed_clips, problems, options, job.source)
    plan = replace(plan, deleted_feedback=len(base.rows) - len(available), kept_labels=kept_labels)
    return PlannedRetraining(base, plan, request_hash, kept_labels)


def _require_labels_available(
    base: BaseVersion, available: Sequence[ManifestRow], job: RetrainJob
) -> None:
    before = {row.label for row in base.rows}
    lost_labels = sort_labels(
        before - {row.label for row in available} - set(job.options.remove_labels)
    )
    if lost_labels:
        raise TrainingError(
            f"all recordings of {', '.join(map(repr, lost_labels))} are missing: they came from "
            "feedback and were deleted, or their folder was moved. Restore the folder, give new "
            f"clips, or remove the labels with --remove-labels {','.join(lost_labels)}"
        )
