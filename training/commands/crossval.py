"""``earful crossval``: one training per fold of speakers, or of the dataset."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earful.data.errors import UsageError
from earful.service.commands.next_steps import keep_on_interrupt, kept_if_any, print_next
from earful.service.core.echo import echo
from earful.training.commands.options import (
    DatasetArgument,
    DeviceOption,
    ExtraOption,
    JsonOption,
    NegativesOption,
    SettingOption,
)
from earful.training.commands.setting_options import with_settings
from earful.training.config.train_config import TrainConfig

if TYPE_CHECKING:
    from earful.training.evaluation.crossval import FoldChoice


@with_settings(TrainConfig, only=("epochs", "oversample"), after="model")
def crossval(
    dataset: DatasetArgument,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for one run per fold; finished runs stay.")
    ],
    folds: Annotated[
        str,
        typer.Option(
            help="speaker: leave one out; a number of groups of speakers; column: the dataset's own"
        ),
    ] = "speaker",
    model: Annotated[str, typer.Option(help="A network or a baseline, as in train.")] = "cnn",
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    **settings: Any,
) -> None:
    """Measure a network on speakers or folds it was not trained on, by one training per fold."""
    from earful.data.atomic_write import require_own_folder
    from earful.data.dataset.dataset import open_dataset
    from earful.models.networks.zoo import zoo_entry
    from earful.training.config.overrides import parse_settings
    from earful.training.evaluation.crossval import cross_validate
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.runs.progress import TrainingProgress, training_progress
    from earful.training.runs.train_run import dataset_config

    require_own_folder(out, ("crossval.json", "fold*/last.pt"), "cross-validation")
    by = _parse_folds(folds)
    overrides = {name: value for name, value in settings.items() if value is not None}
    if zoo_entry(model).fitted:
        overrides.pop("oversample", None)
    overrides |= parse_settings(model, setting or [], "--set", ("model", *settings))
    opened, auxiliary = open_dataset(dataset), open_auxiliary_data(extra, negatives)
    config = dataset_config(model, overrides, opened)
    kept = kept_if_any(out, "fold*/last.pt", "finished epochs")
    with keep_on_interrupt(kept), training_progress(config.epochs) as progress:

        def on_fold(name: str, number: int, count: int) -> TrainingProgress:
            progress.on_note(f"fold {number} of {count}: {name}")
            return progress

        result = cross_validate(
            opened,
            out,
            config,
            folds=by,
            auxiliary=auxiliary,
            device=device,
            on_fold=on_fold,
        )
    echo(json.dumps(result.to_dict(), indent=2) if as_json else result.text())
    echo(f"one run per fold in {out}", err=True)
    print_next(("train", dataset, "--out", "RUN", "--model", model))


def _parse_folds(text: str) -> "FoldChoice":
    """What ``--folds`` says.

    Raises:
        UsageError: none of its choices.
    """
    if text == "speaker":
        return "speaker"
    if text == "column":
        return "column"
    if text.isdecimal() and int(text) > 1:
        return int(text)
    raise UsageError(f"--folds is speaker, column or a number of 2 or more, found {text!r}")
