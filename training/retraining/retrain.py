"""``earful retrain``: read it from top to bottom.

Every stage leaves a file or folder that is whole or not there, so that the same command goes on
after a kill, and the registry changes by one rename at the end.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from earful.data.dataset.dataset import MANIFEST_FILENAME, Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.labels_csv import Clip, LabelledClips
from earful.data.labels.multilabel import sort_labels
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.device import Device
from earful.models.networks.zoo import zoo_entry
from earful.models.registry.records import CHALLENGER, CHAMPION, CHECKPOINT_FILE, DATA_FILE, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.service.classifier import Classifier
from earful.service.core.retrain_lock import RetrainFolder
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.export.export import export
from earful.training.metrics.classification import ClassificationMetrics, compute_metrics
from earful.training.releases.manifest import DataRow, from_csv, to_csv
from earful.training.releases.register import version_files
from earful.training.retraining.gate import Answered, Verdict, answer_both, judge
from earful.training.retraining.gate_report import report_files
from earful.training.retraining.idempotency import made_already, reasons_against, settle
from earful.training.retraining.plan import Options, Plan, hear, make_plan, request_hash
from earful.training.retraining.warm_start import warm_config, warm_start, with_emphasis
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, Checkpoint, EpochRecord, load_checkpoint

_SAME_VERSION = "made already by the same request"


@dataclass(frozen=True)
class Request:
    """New labels for a model of the registry, and what may be done with them."""

    registry: Registry
    name: str
    labels: LabelledClips
    source: str
    options: Options
    work: Path
    promote: bool = True
    device: Device = "auto"
    on_stage: Callable[[str], None] = lambda stage: None
    progress: Callable[[int], AbstractContextManager[TrainingProgress]] = field(
        default=lambda epochs: nullcontext(TrainingProgress())
    )


@dataclass(frozen=True)
class Outcome:
    """What came of it; without a version there was nothing to train for, or it was a dry run."""

    plan: Plan | None
    version: Version | None = None
    verdict: Verdict | None = None
    promoted: bool = False
    note: str = ""
    reasons: tuple[str, ...] = ()  # why the version may not be champion


@dataclass(frozen=True)
class Base:
    """The champion, and what it was made from."""

    version: Version
    model: Path
    rows: list[DataRow]


def open_base(registry: Registry, name: str) -> Base:
    """The champion of a model.

    Raises:
        RegistryError: there is none, or it is damaged.
        TrainingError: it was registered without its data.
    """
    version = registry.version(name, CHAMPION)
    if DATA_FILE not in version.files:
        raise TrainingError(
            f"version {version.number} of {name} was registered without its data, so there is "
            f"nothing to go on from; `earful models register {name} RUN --data DATASET --promote` "
            "has it"
        )
    rows = from_csv(registry.read(name, version, DATA_FILE), f"version {version.number} of {name}")
    return Base(version, registry.local_copy(name, version, MODEL_FILE), rows)


def _still_kept(row: DataRow) -> bool:
    """Recordings of feedback are deleted when their time is over or a person asks for it."""
    return row.source != FEEDBACK or row.path.is_file()


def plan_retraining(request: Request) -> tuple[Base, Plan | None, str]:
    """The champion, what would be done (None: it was done already), and the request's hash.

    Raises:
        EarfulError: the registry, the labels or the options cannot be used.
    """
    base = open_base(request.registry, request.name)
    metadata = open_bundle(base.model).metadata
    if metadata.score_kind == "sigmoid":
        raise TrainingError(
            f"{request.name} says several labels at once, and retraining is for models that say "
            "one: merge the labels with `earful labels merge`, then prepare and train anew "
            "(--loss bce), and register that"
        )
    heard, problems = hear(request.labels, metadata.features)
    asked = request_hash(heard, request.options)[:16]
    if base.version.request_hash == asked:
        return base, None, asked
    kept = [row for row in base.rows if _still_kept(row)]
    _check_labels_stay(base, kept, request)
    # A label whose recordings are all gone needs no removing any more.
    gone = {row.label for row in base.rows} - {row.label for row in kept}
    left = tuple(label for label in request.options.remove_labels if label not in gone)
    options = replace(request.options, remove_labels=left)
    plan = make_plan(kept, heard, problems, options, request.source)
    return base, replace(plan, forgotten=len(base.rows) - len(kept)), asked


def _check_labels_stay(base: Base, kept: Sequence[DataRow], request: Request) -> None:
    before = {row.label for row in base.rows}
    gone = sort_labels(before - {row.label for row in kept} - set(request.options.remove_labels))
    if gone:
        raise TrainingError(
            f"no recording of {', '.join(map(repr, gone))} is kept any more: they came from "
            "feedback, and were deleted, or their folder is not there. Put the folder back, give "
            f"new clips of them, or unlearn them with --remove-labels {','.join(gone)}"
        )


def retrain(request: Request) -> Outcome:
    """Train a candidate, compare it with the champion, promote it or keep it as challenger.

    Raises:
        EarfulError: it cannot be done; the registry is as it was.
    """
    request.registry.version(request.name, CHAMPION)  # a mistyped name leaves no folder behind
    work = RetrainFolder(request.work / request.name)
    with work.locked():
        try:
            outcome = _retrain(request, work)
        except BaseException as error:
            message = str(error) or type(error).__name__
            work.write_status("", state="failed", message=message)
            raise
        work.write_status("", state="done", message=_told(outcome))
        return outcome


def _retrain(request: Request, work: RetrainFolder) -> Outcome:
    def stage(name: str) -> None:
        work.write_status(name)
        request.on_stage(name)

    stage("plan")
    base, plan, asked = plan_retraining(request)
    if plan is None:
        return Outcome(None, base.version, promoted=True, note=_SAME_VERSION)
    if not plan.changes:
        return Outcome(plan, note="nothing new to learn; the champion knows it all")
    made = made_already(request.registry, request.name, asked, base.version)
    if made is not None:
        settle(request.registry, request.name, made, base.version, promote=request.promote)
        return Outcome(
            plan, made, promoted=_is_champion(request, made), note=_SAME_VERSION,
            reasons=reasons_against(request.registry, request.name, made),
        )  # fmt: skip
    rows = hashlib.sha256(to_csv(plan.rows)).hexdigest()
    folder = work.run_folder(f"{asked}-{base.version.number}-{rows[:16]}")
    stage("prepare")
    dataset = _prepared(folder, plan, base)
    stage("train")
    _trained(request, folder, dataset, plan, base, work)
    stage("export")
    if not (folder / MODEL_FILE).is_file():
        export(folder / "run", folder / MODEL_FILE)
    stage("compare")
    answers = _answers(base, folder / MODEL_FILE, plan)
    options = request.options
    verdict = judge(answers, options.margin, options.least_accuracy, plan.new_labels)
    stage("publish")
    files = candidate_files(request, folder, plan, base, answers, verdict)
    version = request.registry.register(
        request.name, files, parent=base.version.number, request_hash=asked, note=note_of(request, plan),
        alias=CHAMPION if verdict.passed and request.promote else CHALLENGER,
        expected_champion=base.version.number,
    )  # fmt: skip
    shutil.rmtree(folder)
    reasons = tuple(verdict.failures())
    return Outcome(plan, version, verdict, _is_champion(request, version), reasons=reasons)


def _is_champion(request: Request, version: Version) -> bool:
    return request.registry.aliases(request.name).champion == version.number


def _prepared(folder: Path, plan: Plan, base: Base) -> Dataset:
    """The plan's rows as a dataset, with the features of the champion.

    Raises:
        TrainingError: a file is not as it was when it was registered.
    """
    if not (folder / "dataset" / MANIFEST_FILENAME).is_file():
        listed = folder / "labels.csv"
        listed.write_bytes(to_csv(plan.rows))
        features = open_bundle(base.model).metadata.features
        labelled = LabelledClips(tuple(_clips(plan.rows)), (), frozenset({"split"}))
        prepare(labelled, folder / "dataset", features=features, split="column")
    dataset = open_dataset(folder / "dataset")
    pairs = zip(plan.rows, dataset.clips["sha256"], strict=True)
    changed = [str(row.path) for row, sha256 in pairs if row.sha256 != sha256]
    if changed:
        raise TrainingError(
            f"{len(changed)} files are not as they were when they were registered, {changed[0]} "
            "among them; put them back, or register the model anew with `earful models register`"
        )
    return dataset


def _clips(rows: Sequence[DataRow]) -> list[Clip]:
    return [
        Clip(
            i, str(row.path), row.path, row.label, row.speaker, row.split, row.start_seconds,
            row.end_seconds,
        )
        for i, row in enumerate(rows, 2)
    ]  # fmt: skip


def _trained(
    request: Request, folder: Path, dataset: Dataset, plan: Plan, base: Base, work: RetrainFolder
) -> None:
    options = request.options
    earlier = _checkpoint(request, base, folder)
    config, start = _beginning(earlier, base, dataset, options)
    emphasised = with_emphasis(dataset, [row.audio in plan.new for row in plan.rows])
    with request.progress(config.epochs) as heard:

        def on_epoch(record: EpochRecord) -> None:
            work.write_status("train", record.epoch, config.epochs)
            heard.on_epoch(record)

        train_run(
            emphasised, folder / "run", config, start=start, device=request.device, resume=True,
            progress=TrainingProgress(heard.on_batch, on_epoch),
        )  # fmt: skip


def _checkpoint(request: Request, base: Base, folder: Path) -> Checkpoint | None:
    if CHECKPOINT_FILE not in base.version.files:
        return None
    path = folder / CHECKPOINT_FILE
    path.write_bytes(request.registry.read(request.name, base.version, CHECKPOINT_FILE))
    return load_checkpoint(path)


def _beginning(
    earlier: Checkpoint | None, base: Base, dataset: Dataset, options: Options
) -> tuple[TrainConfig, Checkpoint | None]:
    """Settings and weights to begin with: the champion's, or fresh ones with ``from_scratch``.

    What is fitted in one go is fitted anew, to the old clips and the new.
    """
    if earlier is not None and zoo_entry(earlier.config.model).fitted:
        return replace(earlier.config, seed=options.seed), None
    if not options.from_scratch:
        if earlier is None:
            raise TrainingError(
                f"version {base.version.number} was registered as a model file without its run, so "
                "its weights cannot be trained on; --from-scratch begins with fresh ones"
            )
        config = warm_config(earlier.config, options.epochs, options.seed)
        return config, warm_start(earlier, dataset.labels, options.seed)
    name = open_bundle(base.model).metadata.architecture["name"]
    config = earlier.config if earlier else default_config(name)
    epochs = options.epochs or config.epochs
    return TrainConfig(**{**config.to_dict(), "epochs": epochs, "seed": options.seed}), None


def _answers(base: Base, candidate: Path, plan: Plan) -> list[Answered]:
    test = [row for row in plan.rows if row.split == "test"]
    return answer_both(Classifier.open(base.model), Classifier.open(candidate), _clips(test))


def candidate_files(
    request: Request, folder: Path, plan: Plan, base: Base, answers: Sequence[Answered],
    verdict: Verdict,
) -> dict[str, bytes]:  # fmt: skip
    """The files of the candidate's version."""
    private = {row.path for row in plan.rows if row.source == FEEDBACK}
    return {
        **version_files(
            folder / MODEL_FILE, metrics_of(answers).to_dict(), plan.rows, note_of(request, plan),
            checkpoint=folder / "run" / BEST_CHECKPOINT,
        ),
        **report_files(request.name, base.version, plan, answers, verdict, private),
    }  # fmt: skip


def note_of(request: Request, plan: Plan) -> str:
    """What the version says of how it came about."""
    return (
        f"retrained with {request.source}: {plan.added} clips added, {plan.corrected} corrected, "
        f"{plan.removed + plan.forgotten} removed"
    )


def metrics_of(answers: Sequence[Answered]) -> ClassificationMetrics:
    """The candidate's figures on the frozen test set."""
    truth = [answer.clip.label for answer in answers]
    guesses = [answer.candidate for answer in answers]
    speakers = [answer.clip.speaker for answer in answers]
    return compute_metrics(truth, guesses, speakers, sort_labels([*truth, *guesses]))


def _told(outcome: Outcome) -> str:
    if outcome.version is None:
        return outcome.note
    role = "champion" if outcome.promoted else "challenger"
    return "; ".join([f"version {outcome.version.number} is {role}", *outcome.reasons])
