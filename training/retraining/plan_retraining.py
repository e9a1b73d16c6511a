"""Plans a retraining: the champion, its data that is still there, and what a request changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earful.data.audio.decode import AudioError
from earful.data.audio.fingerprint import audio_hash
from earful.data.dataset.late_ends import up_to_end
from earful.data.dataset.reader import MeasuredClip, measure_clips
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips, Provenance
from earful.data.labels.multilabel import has_multiple_labels, sort_labels
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.metadata import ModelMetadata
from earful.models.registry.records import CHAMPION, DATA_FILE, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.service.core.label_changes import LabelChange
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import from_csv
from earful.training.retraining.corrections import split_overruling
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import Plan, hash_request, make_plan


@dataclass(frozen=True)
class BaseVersion:
    """The champion: version, model file with its metadata, and data."""

    version: Version
    model: Path
    metadata: ModelMetadata
    rows: list[Clip]


def champion_labels(registry: Registry, name: str) -> tuple[str, ...]:
    """The labels of a model's champion.

    Raises:
        RegistryError: there is no champion, or it is damaged.
    """
    version = registry.version(name, CHAMPION)
    return open_bundle(registry.local_copy(name, version, MODEL_FILE)).metadata.labels


def open_base(registry: Registry, name: str) -> BaseVersion:
    """Read the champion of a model.

    Raises:
        RegistryError: there is no champion, or it is damaged.
        TrainingError: it was registered without its data, or is INT8.
    """
    version = registry.version(name, CHAMPION)
    if DATA_FILE not in version.files:
        raise TrainingError(
            f"version {version.number} of {name} was registered without its data; register it "
            f"with `earful models register {name} RUN --data DATASET --promote`"
        )
    model = registry.local_copy(name, version, MODEL_FILE)
    metadata = open_bundle(model).metadata
    if metadata.quantization is not None:
        raise TrainingError(
            f"version {version.number} of {name} is INT8, and a retraining gives float32; register "
            f"its run with `earful models register {name} RUN --promote`, and export what becomes "
            "of it with --int8"
        )
    rows = from_csv(registry.read(name, version, DATA_FILE), f"version {version.number} of {name}")
    return BaseVersion(version, model, metadata, rows)


def _is_available(row: Clip) -> bool:
    """Recordings of feedback may be deleted: on request, or when their retention ends."""
    return row.provenance.origin != FEEDBACK or row.path.is_file()


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
    if base.metadata.score_kind == "sigmoid":
        raise TrainingError(
            f"{job.name} is a multi-label model, and retraining needs one label per clip: merge "
            "the labels with `earful labels merge`, prepare and train a new run (--loss bce), and "
            "register it"
        )
    new_clips, problems = read_new_clips(job.labels, base.metadata.features, job.source)
    remaining_rows = [row for row in base.rows if row.label not in job.options.remove_labels]
    used_clips, kept_labels = split_overruling(remaining_rows, new_clips)
    request_hash = hash_request(used_clips, job.options)[:16]
    if base.version.request_hash == request_hash:
        return PlannedRetraining(base, None, request_hash, kept_labels)
    available = [row for row in base.rows if _is_available(row)]
    _require_labels_available(base, available, job)
    # Labels whose recordings were all deleted are already removed.
    removed_labels = {row.label for row in base.rows} - {row.label for row in available}
    remaining = tuple(label for label in job.options.remove_labels if label not in removed_labels)
    options = replace(job.options, remove_labels=remaining)
    plan = make_plan(available, used_clips, problems, options)
    plan = replace(plan, deleted_feedback=len(base.rows) - len(available), kept_labels=kept_labels)
    return PlannedRetraining(base, plan, request_hash, kept_labels)


def read_new_clips(
    labelled: LabelledClips, features: FeatureConfig, source: str
) -> tuple[list[Clip], list[ClipProblem]]:
    """The usable clips with their hashes, at the model's sample rate; problems of the others.

    ``source`` is the name that the labels have in the data of the new version.
    """
    problems = list(labelled.problems)
    usable: list[Clip] = []
    for clip in labelled.clips:
        if has_multiple_labels(clip.label):
            reason = f"label {clip.label!r}: the model has one label per clip"
            problems.append(clip.problem("multiple_labels", reason))
        else:
            usable.append(clip)
    new_clips: list[Clip] = []
    for clip, measured in measure_clips(usable, features):
        if isinstance(measured, AudioError):
            problems.append(clip.audio_problem(measured))
        else:
            new_clips.append(_with_hashes(clip, measured, source))
    return new_clips, problems


def _with_hashes(clip: Clip, measured: MeasuredClip, source: str) -> Clip:
    row = f"{source}, line {clip.line}" if clip.line else ""
    return replace(
        up_to_end(clip, measured.seconds),
        sha256=measured.sha256,
        audio_hash=audio_hash(measured.window),
        provenance=Provenance(source, row or clip.provenance.annotator or source),
    )


def _require_labels_available(
    base: BaseVersion, available: Sequence[Clip], job: RetrainJob
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
