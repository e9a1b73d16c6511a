"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.models.bundle.device import Device

LabelsArgument = Annotated[Path, typer.Argument(metavar="LABELS.csv", help="Labels CSV.")]
AudioDirOption = Annotated[
    Path | None, typer.Option(help="Folder of relative file names; the CSV's own without it.")
]
SplitOption = Annotated[
    Literal["random", "speaker", "column"] | None,
    typer.Option(help="Who is tested on; the most honest one that the columns allow without it."),
]
ExtraOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Clips to train on besides, synthetic ones say."),
]
NegativesOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Clips of other words, to be answered with no label."),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A setting of train or of the network. Repeatable."
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option(help="Where to train; auto takes CUDA if there is one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
