"""``earful crossval``: one training per fold of speakers, or of the dataset."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from earful.training.evaluation.crossval import FoldChoice


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
    epochs: Annotated[int | None, typer.Option(help="Maximal number of epochs per fold.")] = None,
    oversample: Annotated[
        int, typer.Option(help="Times that an epoch reads the clips of DATASET; extra ones once.")
    ] = 1,
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a network on speakers or folds it was not trained on, by one training per fold."""
    from earful.data.atomic_write import require_own_folder
    from earful.data.dataset.dataset import open_dataset
    from earful.models.networks.zoo import zoo_entry
    from earful.training.config.overrides import SettingValue, apply_overrides, parse_settings
    from earful.training.config.train_config import default_config
    from earful.training.evaluation.crossval import cross_validate
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.runs.progress import TrainingProgress, training_progress
    from earful.training.runs.train_run import adapt_to_dataset

    require_own_folder(out, ("crossval.json", "fold*/last.pt"), "cross-validation")
    by = _parse_folds(folds)
    overrides: dict[str, SettingValue] = (
        {} if zoo_entry(model).fitted else {"oversample": oversample}
    )
    if epochs is not None:
        overrides["epochs"] = epochs
    overrides |= parse_settings(model, setting or [], "--set", ("model", "epochs", "oversample"))
    opened, auxiliary = open_dataset(dataset), open_auxiliary_data(extra, negatives)
    config = adapt_to_dataset(
        apply_overrides(default_config(model), overrides), overrides, opened, processes=1
    )
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
