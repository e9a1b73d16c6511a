"""``earful lr-find``: a learning rate to start with."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import UsageError
from earful.service.commands.next_steps import print_next
from earful.service.core.echo import echo
from earful.training.commands.options import (
    DatasetArgument,
    DeviceOption,
    ExtraOption,
    JsonOption,
    NegativesOption,
    SettingOption,
)


def lr_find(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Plot to write.")] = Path(
        "rate.png"
    ),
    model: Annotated[str, typer.Option(help="A network, as in train.")] = "cnn",
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    steps: Annotated[
        int, typer.Option(min=50, help="Steps over which the learning rate grows.")
    ] = 300,
    as_json: JsonOption = False,
) -> None:
    """Find a learning rate: train at ever larger rates and plot the loss."""
    from earful.data.dataset.dataset import open_dataset
    from earful.training.config.overrides import parse_settings
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.plots.plots import plot_learning_rates
    from earful.training.runs.progress import work_progress
    from earful.training.runs.train_run import dataset_config
    from earful.training.trainer.lr_finder import find_learning_rate as find

    if out.suffix != ".png":
        raise UsageError(f"--out is a .png file, found {out}")
    overrides = parse_settings(model, setting or [], "--set", ("model", "learning_rate", "epochs"))
    opened, auxiliary = open_dataset(dataset), open_auxiliary_data(extra, negatives)
    config = dataset_config(model, overrides, opened)
    with work_progress("step") as on_step:
        result = find(
            opened, config, auxiliary=auxiliary, device=device, steps=steps, on_step=on_step
        )
    plot_learning_rates(result, f"{model}, {config.optimizer}, batches of {config.batch_size}", out)
    if as_json:
        echo(json.dumps(result.to_dict(), indent=2))
    else:
        echo(f"the loss falls fastest at {result.suggested:g}; start there or somewhat lower")
    echo(f"plot in {out}", err=True)
    rate = f"{result.suggested:g}"
    print_next(("train", dataset, "--out", "RUN", "--model", model, "--learning-rate", rate))
