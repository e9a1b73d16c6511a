"""The candidate of a retraining: its dataset, and its training from the champion's weights."""

from dataclasses import replace
from pathlib import Path

from earful.data.dataset.dataset import MANIFEST_FILENAME, Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.clip import LabelledClips
from earful.models.networks.zoo import zoo_entry
from earful.models.registry.records import CHECKPOINT_FILE
from earful.service.core.retrain_lock import RetrainFolder
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.releases.manifest import to_csv
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import Plan, RetrainOptions
from earful.training.retraining.plan_retraining import BaseVersion
from earful.training.retraining.warm_start import oversample_new, warm_config, warm_start
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import Checkpoint, EpochRecord, load_checkpoint


def prepare_candidate(folder: Path, plan: Plan, base: BaseVersion) -> Dataset:
    """Prepare the rows of the plan with the features of the champion.

    Raises:
        TrainingError: a file has changed since it was registered.
    """
    if not (folder / "dataset" / MANIFEST_FILENAME).is_file():
        labels_csv = folder / "labels.csv"
        labels_csv.write_bytes(to_csv(plan.rows))
        clips = tuple(replace(row, line=line) for line, row in enumerate(plan.rows, 2))
        labelled = LabelledClips(clips, (), frozenset({"split"}))
        prepare(labelled, folder / "dataset", features=base.metadata.features, split="column")
    dataset = open_dataset(folder / "dataset")
    pairs = zip(plan.rows, dataset.clips["sha256"], strict=True)
    changed = [str(row.path) for row, sha256 in pairs if row.sha256 != sha256]
    if changed:
        raise TrainingError(
            f"{len(changed)} files have changed since they were registered, the first: "
            f"{changed[0]}; restore them, or register the model again with `earful models register`"
        )
    return dataset


def train_candidate(
    job: RetrainJob,
    folder: Path,
    dataset: Dataset,
    plan: Plan,
    base: BaseVersion,
    work: RetrainFolder,
) -> None:
    """Train from the champion's weights into ``folder/run``; continues an interrupted training.

    Raises:
        TrainingError: the champion has no checkpoint to continue from, or training fails.
    """
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
    name = base.metadata.architecture["name"]
    config = checkpoint.config if checkpoint else default_config(name)
    epochs = options.epochs or config.epochs
    return TrainConfig(**{**config.to_dict(), "epochs": epochs, "seed": options.seed}), None
