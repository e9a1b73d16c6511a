"""``earful.train``: a dataset, or labels that are prepared first, to a run.

The way of a clip:

    data.labels.labels_csv.read_labels        a row of a CSV to a clip
    data.dataset.prepare.prepare              clips to a dataset folder: waveforms, features
    data.dataset.dataset.open_dataset         the folder's arrays, memory-mapped
    training.loaders.loader.training_loader   batches of features on the device, augmented
    training.trainer.train_step.TrainStep     a batch to a step of the weights
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from earful.data.atomic_write import require_own_folder
from earful.data.dataset.dataset import MANIFEST_FILENAME, open_dataset
from earful.data.errors import UsageError, optional_path, require_choice, require_path
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.encoder import SPEECH
from earful.models.networks.zoo import zoo_entry
from earful.training.api.contest import hold_contest_with_progress, keep_contest
from earful.training.api.prepare_for_training import find_dataset
from earful.training.config.overrides import SettingValue, apply_overrides, check_setting
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.contest.contest import Contest, was_in_folds
from earful.training.contest.settings import AUTO, contest_overrides
from earful.training.loaders.auxiliary_data import open_auxiliary_data
from earful.training.metrics.classification import ClassificationMetrics
from earful.training.runs.metrics_file import RunMetrics
from earful.training.runs.progress import note_printer, training_progress
from earful.training.runs.train_run import adapt_to_dataset, find_resume_config, train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from earful.training.trainer.checkpoint_mirror import CheckpointStore
from earful.training.trainer.distributed import detect_distributed


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    run      folder of the checkpoints, metrics.json and plots
    config   all settings
    figures  what metrics.json says; None in all processes but the first
    dataset  folder of the dataset, also where labels were given
    contest  what was tried, where ``model`` was "auto"
    """

    run: Path
    config: TrainConfig
    figures: RunMetrics | None
    dataset: Path
    contest: Contest | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json; empty in all processes but the first."""
        return self.figures.to_dict() if self.figures else {}

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return self._known_figures.epochs

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest validation loss, which is exported."""
        return self._known_figures.best_epoch

    @property
    def accuracy(self) -> float | None:
        """Accuracy (0 to 1) on the test clips, or the validation clips where there are none.

        None for a network that is not a classifier.
        """
        part = self._known_figures.test_or_validation
        return part.accuracy if isinstance(part, ClassificationMetrics) else None

    @property
    def still_improving(self) -> bool:
        """Whether the last of all requested epochs is the best, so that more may help."""
        return (
            not zoo_entry(self.config.model).fitted
            and self.best_epoch == self.epochs == self.config.epochs
        )

    @property
    def _known_figures(self) -> RunMetrics:
        if self.figures is None:
            raise TrainingError("of several processes only the first has the figures of the run")
        return self.figures


def train(
    dataset: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    audio_dir: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    label_separator: str = "",
    encoder: str | os.PathLike[str] | None = None,
    unfreeze: bool = False,
    epochs: int | None = None,
    device: TrainingDevice = "auto",
    resume: bool = False,
    extra: str | os.PathLike[str] | None = None,
    negatives: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    checkpoint_mirror: str | None = None,
    tensorboard: bool = False,
    progress: bool = False,
    **settings: SettingValue,
) -> TrainResult:
    """Train a network on a dataset.

    Args:
        dataset: folder made by ``prepare``; or labels (a CSV, or a folder with a folder of
            recordings for each label), which are prepared beside the run, as RUN-dataset.
        out: run folder to write: checkpoints, metrics.json, learning curves, confusion matrix.
        model: a network or a baseline, or "auto" (the default): a short contest between what fits
            the data, whose winner is trained; with ``resume`` that of the run.
        audio_dir: folder of relative file names of a labels CSV; that of the CSV by default.
        columns: columns of a labels CSV by role, such as ``{"label": "category"}``.
        label_separator: what stands between several labels of one cell, beside ``|``.
        encoder: "speech", or an ONNX file with waveforms as input and frames of features as
            output: a linear head on it is fitted ("encoder" as ``model``).
        unfreeze: train the speech encoder further ("encoder-finetuned" as ``model``).
        epochs: maximal number of epochs; by default that which suits the network.
        device: "cpu", "cuda", "mps" (of Apple silicon), or "auto" for CUDA if there is one.
        resume: continue the run in ``out``, if there is one, with its settings.
        extra: dataset folder of further training clips.
        negatives: dataset folder of clips that have none of the labels.
        teacher: a model file, or a name in the registry: the network learns its answers.
        checkpoint_mirror: a second folder or URL for checkpoints.
        tensorboard: write TensorBoard logs into ``out``.
        progress: show epochs on stderr.
        settings: fields of ``TrainConfig`` and options of the network by name, such as
            ``learning_rate=0.002``, ``augment=True`` or ``dropout=0.3``.

    Raises:
        UsageError: an argument of a wrong type, or none of the choices.
        DatasetError: a folder holds no dataset, or labelled files cannot be used.
        LabelsError: ``dataset`` is neither a dataset nor labels.
        SplitError: labels whose clips cannot be split.
        TrainingError: an unknown setting, a run in ``out`` without ``resume``, a run of other
            settings or data with it, nothing to train on, or training diverges.
        OutputError: ``out`` is a folder of other files.
        EarfulError: an unknown network, or an option that it does not have.
    """
    dataset, out = require_path("dataset", dataset), require_path("out", out)
    optional_path("checkpoint_mirror", checkpoint_mirror)
    if not (out / MANIFEST_FILENAME).is_file():  # a dataset is refused by its name below
        require_own_folder(out, (LAST_CHECKPOINT, BEST_CHECKPOINT), "run")
    require_choice("device", device, get_args(TrainingDevice))
    dist_context = detect_distributed()
    overrides = dict(settings) | choose_encoder(model, encoder, unfreeze=unfreeze)
    overrides |= {} if epochs is None else {"epochs": epochs}
    options = CsvOptions(optional_path("audio_dir", audio_dir), columns or {}, label_separator)
    if (dataset / MANIFEST_FILENAME).is_file():
        _refuse_csv_options(dataset, options)
    else:
        _check_before_preparing(out, overrides, checkpoint_mirror, resume=resume)
        dataset = find_dataset(
            dataset,
            options,
            out,
            has_run=(out / LAST_CHECKPOINT).is_file(),
            processes=dist_context.world_size,
            on_note=note_printer(show=progress),
            progress=progress,
        )
    opened = open_dataset(dataset)
    auxiliary = open_auxiliary_data(
        optional_path("extra", extra),
        optional_path("negatives", negatives),
        None if teacher is None else str(require_path("teacher", teacher)),
    )
    resumed = find_resume_config(out, checkpoint_mirror) if resume else None
    contest = None
    if resumed is None and overrides.get("model", AUTO) == AUTO:
        CheckpointStore.open(out, checkpoint_mirror).require_no_run()
        contest = hold_contest_with_progress(
            opened, auxiliary, overrides, device, dist_context.world_size, show=progress
        )
        overrides = contest_overrides(contest, overrides)
    overrides = {name: v for name, v in overrides.items() if (name, v) != ("model", AUTO)}
    if (contest is not None and contest.logits is not None) or (resumed and was_in_folds(out)):
        opened = opened.with_validation_fitted()
    config = _requested_config(overrides, resumed)
    if resumed is None:
        config = adapt_to_dataset(config, overrides, opened, dist_context.world_size)
    show = progress and dist_context.is_main_process
    with training_progress(config.epochs, config.batch_size, show=show) as callbacks:
        progress_of_run = keep_contest(callbacks, contest, out) if contest else callbacks
        figures = train_run(
            opened,
            out,
            config,
            auxiliary=auxiliary,
            device=device,
            resume=resume,
            progress=progress_of_run,
            checkpoint_mirror=checkpoint_mirror,
            dist_context=dist_context,
            tensorboard=tensorboard,
            held_out=None if contest is None else contest.logits,
        )
    return TrainResult(out, config, figures, dataset, contest)


def _refuse_csv_options(dataset: Path, options: CsvOptions) -> None:
    if options != PLAIN_CSV:
        raise UsageError(
            f"--audio-dir, --columns and --label-separator are for a labels CSV; {dataset} is a "
            "prepared dataset"
        )


def _check_before_preparing(
    out: Path,
    overrides: Mapping[str, SettingValue],
    checkpoint_mirror: str | None,
    *,
    resume: bool,
) -> None:
    """Refuse what can be refused before minutes of preparing.

    Raises:
        TrainingError: ``out`` holds a run without ``resume``, or a setting is unknown or wrong.
        EarfulError: an unknown network.
    """
    if not resume:
        CheckpointStore.open(out, checkpoint_mirror).require_no_run()
        if overrides.get("model", AUTO) != AUTO:
            _requested_config(overrides, None)


def requested_network(
    out: Path,
    checkpoint_mirror: str | None,
    *,
    model: str | None,
    encoder: str | None,
    unfreeze: bool,
    resume: bool,
) -> str:
    """The network that these arguments of ``train`` ask for; the default one before a contest.

    Raises:
        TrainingError: they contradict each other.
        EarfulError: the run to continue is damaged, or its mirror cannot be reached.
    """
    resumed = find_resume_config(out, checkpoint_mirror) if resume else None
    chosen = choose_encoder(model, encoder, unfreeze=unfreeze).get("model")
    network = str(chosen or (resumed or TrainConfig()).model)
    return TrainConfig.model if network == AUTO else network


def choose_encoder(
    model: str | None, encoder: str | os.PathLike[str] | None, *, unfreeze: bool
) -> dict[str, SettingValue]:
    """The settings that ``model``, ``encoder`` and ``unfreeze`` stand for together.

    Raises:
        TrainingError: they contradict each other.
    """
    if encoder is None and not unfreeze:
        return {} if model is None else {"model": model}
    name = "encoder-finetuned" if unfreeze else "encoder"
    if model not in (None, "encoder", name):
        raise TrainingError(
            f"--encoder and --unfreeze are for --model encoder, found --model {model}"
        )
    if encoder is None or os.fspath(encoder) == SPEECH:
        return {"model": name}
    if unfreeze:
        raise TrainingError(
            f"only the speech encoder can be trained further, not the file {encoder}; leave out "
            "--unfreeze, or give --encoder speech"
        )
    return {"model": name, "encoder": os.fspath(encoder)}


def _requested_config(
    overrides: Mapping[str, SettingValue], resumed: TrainConfig | None
) -> TrainConfig:
    """The defaults of the network, or the settings of the resumed run, with overrides."""
    base = resumed or default_config(str(overrides.get("model", TrainConfig.model)))
    model = str(overrides.get("model", base.model))
    for name, value in overrides.items():
        check_setting(model, name, value)
    return apply_overrides(base, overrides)
