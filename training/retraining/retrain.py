"""``earful retrain``: plan, prepare, train, export, compare, publish.

Every stage writes its output atomically, so an interrupted command resumes; the registry changes
only in the last stage, by one rename.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from earful.data.dataset.dataset import MANIFEST_FILENAME, Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.multilabel import sort_labels
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.device import Device
from earful.models.networks.zoo import zoo_entry
from earful.models.registry.records import (
    CHALLENGER,
    CHAMPION,
    CHECKPOINT_FILE,
    MODEL_FILE,
    Version,
)
from earful.models.registry.registry import Registry
from earful.models.registry.standing import VersionStanding, read_standing
from earful.service.classifier import Classifier
from earful.service.core.label_changes import LabelChange
from earful.service.core.retrain_lock import RetrainFolder, RetrainResult
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.export.export import export
from earful.training.releases.manifest import ManifestRow, to_csv
from earful.training.retraining.base import BaseVersion, open_base
from earful.training.retraining.candidate import candidate_files, version_note
from earful.training.retraining.corrections import LabelOrigin, split_overruling
from earful.training.retraining.gate import (
    GateResult,
    PairedPrediction,
    evaluate_gate,
    predict_pairs,
)
from earful.training.retraining.idempotency import find_existing, gate_failures, restore_alias
from earful.training.retraining.plan import (
    Plan,
    RetrainOptions,
    hash_request,
    make_plan,
    read_new_clips,
)
from earful.training.retraining.warm_start import oversample_new, warm_config, warm_start
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import (
    Checkpoint,
    EpochRecord,
    load_checkpoint,
)

_ALREADY_DONE = "already registered by the same request"


@dataclass(frozen=True)
class RetrainJob:
    """New labels for a model of the registry, and how to retrain it.

    ``source`` names the labels in the data of the new version, ``origins`` (by file) who gave those
    of feedback; ``on_stage`` is called with the name of each stage, ``progress`` with the number of
    epochs.
    """

    registry: Registry
    name: str
    labels: LabelledClips
    source: str
    options: RetrainOptions
    work: Path
    origins: Mapping[Path, LabelOrigin] | None = None
    promote: bool = True
    device: Device = "auto"
    on_stage: Callable[[str], None] = lambda stage: None
    progress: Callable[[int], AbstractContextManager[TrainingProgress]] = field(
        default=lambda epochs: nullcontext(TrainingProgress())
    )


@dataclass(frozen=True)
class RetrainOutcome:
    """Result of a retraining; ``version`` is None if there was nothing to train.

    plan      None if the champion was made by this request
    standing  what the version is in the registry when the retraining ends
    reasons   the failed checks of the gate
    """

    plan: Plan | None
    version: Version | None = None
    gate_result: GateResult | None = None
    standing: VersionStanding | None = None
    note: str = ""
    reasons: tuple[str, ...] = ()
    kept_labels: tuple[LabelChange, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the version is the champion."""
        return self.standing is not None and self.standing.role == CHAMPION


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
            work.write_status("", state="failed", message=message)
            raise
        work.write_status("", state="done", message=outcome.note, result=_result(outcome))
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
    dataset = _prepare_dataset(folder, plan, base)
    stage("train")
    _train(job, folder, dataset, plan, base, work)
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
    note = version_note(job.source, plan)
    files = candidate_files(
        job.name, folder, plan, base.version, predictions, gate_result, note=note
    )
    version = job.registry.register(
        job.name,
        files,
        parent=base.version.number,
        request_hash=request_hash,
        note=note,
        alias=CHAMPION if gate_result.passed and job.promote else CHALLENGER,
        expected_champion=base.version.number,
    )
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
            f"nothing to train: {len(plan.kept_labels)} curated labels are kept, and the champion "
            "has all other data"
        )
    return "nothing to train: the champion has all of this data"


def _prepare_dataset(folder: Path, plan: Plan, base: BaseVersion) -> Dataset:
    """Prepare the rows of the plan with the features of the champion.

    Raises:
        TrainingError: a file has changed since it was registered.
    """
    if not (folder / "dataset" / MANIFEST_FILENAME).is_file():
        labels_csv = folder / "labels.csv"
        labels_csv.write_bytes(to_csv(plan.rows))
        features = open_bundle(base.model).metadata.features
        labelled = LabelledClips(tuple(_clips(plan.rows)), (), frozenset({"split"}))
        prepare(labelled, folder / "dataset", features=features, split="column")
    dataset = open_dataset(folder / "dataset")
    pairs = zip(plan.rows, dataset.clips["sha256"], strict=True)
    changed = [str(row.path) for row, sha256 in pairs if row.sha256 != sha256]
    if changed:
        raise TrainingError(
            f"{len(changed)} files have changed since they were registered, the first: "
            f"{changed[0]}; restore them, or register the model again with `earful models register`"
        )
    return dataset


def _clips(rows: Sequence[ManifestRow]) -> list[Clip]:
    return [
        Clip(
            line=line,
            filename=str(row.path),
            path=row.path,
            label=row.label,
            speaker=row.speaker,
            split=row.split,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
        )
        for line, row in enumerate(rows, 2)
    ]


def _train(
    job: RetrainJob,
    folder: Path,
    dataset: Dataset,
    plan: Plan,
    base: BaseVersion,
    work: RetrainFolder,
) -> None:
    options = job.options
    checkpoint = _champion_checkpoint(job, base, folder)
    config, start = _initial_state(checkpoint, base, dataset, options)
    oversampled = oversample_new(dataset, [row.audio_hash in plan.new for row in plan.rows])
    with job.progress(config.epochs) as progress:

        def on_epoch(record: EpochRecord) -> None:
            work.write_status("train", record.epoch, config.epochs)
            progress.on_epoch(record)

        train_run(
            oversampled,
            folder / "run",
            config,
            start=start,
            device=job.device,
            resume=True,
            progress=TrainingProgress(progress.on_batch, on_epoch),
        )


def _champion_checkpoint(job: RetrainJob, base: BaseVersion, folder: Path) -> Checkpoint | None:
    if CHECKPOINT_FILE not in base.version.files:
        return None
    path = folder / CHECKPOINT_FILE
    path.write_bytes(job.registry.read(job.name, base.version, CHECKPOINT_FILE))
    return load_checkpoint(path)


def _initial_state(
    checkpoint: Checkpoint | None, base: BaseVersion, dataset: Dataset, options: RetrainOptions
) -> tuple[TrainConfig, Checkpoint | None]:
    """Settings and initial weights: the champion's, or new ones with ``from_scratch``.

    Baselines that are fitted in one go are fitted again to all clips.
    """
    if checkpoint is not None and zoo_entry(checkpoint.config.model).fitted:
        return replace(checkpoint.config, seed=options.seed), None
    if not options.from_scratch:
        if checkpoint is None:
            raise TrainingError(
                f"version {base.version.number} was registered as a model file without its run, so "
                "it has no checkpoint to continue from; use --from-scratch"
            )
        config = warm_config(checkpoint.config, options.epochs, options.seed)
        return config, warm_start(checkpoint, dataset.labels, options.seed)
    name = open_bundle(base.model).metadata.architecture["name"]
    config = checkpoint.config if checkpoint else default_config(name)
    epochs = options.epochs or config.epochs
    return TrainConfig(**{**config.to_dict(), "epochs": epochs, "seed": options.seed}), None


def _predict_test_set(base: BaseVersion, candidate: Path, plan: Plan) -> list[PairedPrediction]:
    test = [row for row in plan.rows if row.split == "test"]
    return predict_pairs(Classifier.open(base.model), Classifier.open(candidate), _clips(test))


def _result(outcome: RetrainOutcome) -> RetrainResult:
    number = None if outcome.version is None else outcome.version.number
    return RetrainResult(number, outcome.reasons)
