"""``earful retrain``: the way of new labels into a new version.

    labelled_clips of feedback, or read_labels of a CSV   LabelledClips
      -> plan_retraining                     the champion, and the Plan of the next version's rows
      -> prepare_candidate, train_candidate  a Dataset of the rows, and a run on it; then ``export``
      -> predict_pairs, evaluate_gate        GateResult: both models on the frozen test set
      -> publish                             Version: champion if it passed, else challenger

A label is a ``Clip`` (``data.labels.clip``) from the first line to the last: read, compared by
hash in the plan, written to the dataset, classified, and kept in the version's ``data.csv``. Every
stage writes its output atomically, so an interrupted command resumes; the registry changes only in
the last stage, by one rename.
"""

import contextlib
import hashlib
import shutil
from pathlib import Path

from earful.data.errors import EarfulError
from earful.models.registry.records import CHAMPION, MODEL_FILE, Version
from earful.models.registry.standing import read_standing
from earful.service.classifier import Classifier
from earful.service.core.label_changes import LabelChange
from earful.service.core.retrain_lock import RetrainFolder, RetrainResult
from earful.training.export.export import export
from earful.training.releases.manifest import to_csv
from earful.training.retraining.gate import (
    GateResult,
    PairedPrediction,
    evaluate_gate,
    predict_pairs,
)
from earful.training.retraining.gate_report import gate_failures
from earful.training.retraining.job import RetrainJob, RetrainOutcome
from earful.training.retraining.plan import Plan
from earful.training.retraining.plan_retraining import BaseVersion, plan_retraining
from earful.training.retraining.publish import find_existing, publish, restore_alias
from earful.training.retraining.train_candidate import prepare_candidate, train_candidate

_ALREADY_DONE = "already registered by the same request"


def retrain(job: RetrainJob) -> RetrainOutcome:
    """Train a candidate, compare it with the champion, make it champion or challenger.

    Raises:
        EarfulError: retraining failed; the registry is unchanged.
    """
    job.registry.version(job.name, CHAMPION)  # fail before creating a folder for a mistyped name
    work = RetrainFolder(job.work / job.name)
    with work.locked():
        try:
            outcome = _retrain(job, work)
        except BaseException as error:
            message = str(error) or type(error).__name__
            with contextlib.suppress(EarfulError):  # the full disk that ended the retraining, say
                work.write_status("", state="failed", message=message)
            raise
        number = None if outcome.version is None else outcome.version.number
        result = RetrainResult(number, outcome.reasons)
        work.write_status("", state="done", message=outcome.note, result=result)
        return outcome


def _retrain(job: RetrainJob, work: RetrainFolder) -> RetrainOutcome:
    def stage(name: str) -> None:
        work.write_status(name)
        job.on_stage(name)

    stage("plan")
    planned = plan_retraining(job)
    base, plan, request_hash = planned.base, planned.plan, planned.request_hash
    work.set_changes(plan.changed_labels if plan else (), planned.kept_labels)
    if plan is None:
        return _outcome(job, None, base.version, note=_ALREADY_DONE, kept=planned.kept_labels)
    if not plan.has_changes:
        return RetrainOutcome(plan, note=_nothing_to_train(plan), kept_labels=plan.kept_labels)
    existing = find_existing(job.registry, job.name, request_hash, base.version)
    if existing is not None:
        restore_alias(job.registry, job.name, existing, base.version, promote=job.promote)
        return _outcome(job, plan, existing, note=_ALREADY_DONE, kept=plan.kept_labels)
    rows_hash = hashlib.sha256(to_csv(plan.rows)).hexdigest()
    folder = work.run_folder(f"{request_hash}-{base.version.number}-{rows_hash[:16]}")
    stage("prepare")
    dataset = prepare_candidate(folder, plan, base)
    stage("train")
    train_candidate(job, folder, dataset, plan, base, work)
    stage("export")
    if not (folder / MODEL_FILE).is_file():
        export(folder / "run", folder / MODEL_FILE)
    stage("compare")
    predictions = _predict_test_set(base, folder / MODEL_FILE, plan)
    options = job.options
    gate_result = evaluate_gate(
        predictions, options.margin, options.min_new_label_accuracy, plan.new_labels
    )
    stage("publish")
    version = publish(job, planned, plan, folder, predictions, gate_result)
    shutil.rmtree(folder)
    return _outcome(job, plan, version, gate_result, kept=plan.kept_labels)


def _outcome(
    job: RetrainJob,
    plan: Plan | None,
    version: Version,
    gate_result: GateResult | None = None,
    *,
    note: str = "",
    kept: tuple[LabelChange, ...] = (),
) -> RetrainOutcome:
    """The outcome with what the version is now; others may have moved aliases meanwhile."""
    return RetrainOutcome(
        plan,
        version,
        gate_result,
        read_standing(job.registry, job.name, version.number),
        note,
        gate_failures(job.registry, job.name, version),
        kept,
    )


def _nothing_to_train(plan: Plan) -> str:
    if plan.kept_labels:
        return (
            f"nothing to train: curated labels are kept ({len(plan.kept_labels)}), and the "
            "champion has all other data"
        )
    return "nothing to train: the champion has all of this data"


def _predict_test_set(base: BaseVersion, candidate: Path, plan: Plan) -> list[PairedPrediction]:
    test = [row for row in plan.rows if row.split == "test"]
    return predict_pairs(Classifier.open(base.model), Classifier.open(candidate), test)
