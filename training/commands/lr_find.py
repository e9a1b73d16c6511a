"""``earful lr-find``: a learning rate to begin with."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError
from earful.training.commands.options import (
    DeviceOption,
    ExtraOption,
    JsonOption,
    NegativesOption,
    SettingOption,
)


def lr_find(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("rate.png"),
    model: Annotated[str, typer.Option(help="The network, as in train.")] = "cnn",
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    steps: Annotated[int, typer.Option(min=50, help="How slowly the rate grows.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Find the learning rate to begin with: steps at ever larger rates, and their losses."""
    from earful.data.dataset.dataset import open_dataset
    from earful.training.config.overrides import parse_settings, apply_overrides
    from earful.training.config.train_config import default_config
    from earful.training.loaders.auxiliary_data import open_auxiliary_data
    from earful.training.plots.plots import plot_learning_rates
    from earful.training.runs.progress import work_progress
    from earful.training.runs.train_run import adapt_to_dataset
    from earful.training.trainer.lr_finder import find_learning_rate as find

    if out.suffix != ".png":
        raise EarfulError(f"the picture is a .png, found --out {out}")
    overrides = parse_settings(model, setting or [], "--set", ("model", "learning_rate", "epochs"))
    opened, auxiliary = open_dataset(dataset), open_auxiliary_data(extra, negatives)
    config = adapt_to_dataset(apply_overrides(default_config(model), overrides), overrides, opened, processes=1)
    with work_progress("step") as on_step:
        found = find(opened, config, auxiliary=auxiliary, device=device, steps=steps, on_step=on_step)
    plot_learning_rates(found, f"{model}, {config.optimizer}, batches of {config.batch_size}", out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        typer.echo(
            f"the loss falls fastest at {found.suggested:g}; begin there or somewhat lower: "
            f"--learning-rate {found.suggested:g}"
        )
    typer.echo(f"curve in {out}", err=True)
