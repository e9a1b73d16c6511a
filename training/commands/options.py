"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.models.bundle.device import TrainingDevice

LabelsArgument = Annotated[Path, typer.Argument(metavar="LABELS.csv", help="Labels CSV.")]
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder made by `earful prepare`.")
]
TrainingDataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET|LABELS.csv|FOLDER",
        help="Folder made by `earful prepare`, or labels, which are prepared as RUN-dataset.",
    ),
]
AudioDirOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of relative file names. (default: that of the CSV)"),
]
LabelsOrFolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS.csv|FOLDER",
        help="Labels CSV, a folder that has a folder of recordings for each label, or a public "
        "dataset as it is unpacked (earful datasets).",
    ),
]
PatternOption = Annotated[
    str | None,
    typer.Option(
        help="Of a folder whose labels are in the file names: such as '{label}_{speaker}_{n}.wav'."
    ),
]
SplitOption = Annotated[
    Literal["random", "speaker", "fold", "column"] | None,
    typer.Option(
        help="How test clips are chosen. (default: column, else fold, else speaker, else random, "
        "as the columns allow)"
    ),
]
ExtraOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Further training clips, such as synthetic ones."),
]
NegativesOption = Annotated[
    Path | None,
    typer.Option(metavar="DATASET", help="Training clips that have none of the labels."),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting of train or option of the network; a wrong name lists them. Repeatable.",
    ),
]
DeviceOption = Annotated[
    TrainingDevice,
    typer.Option(help="Device to train on; auto is CUDA if there is one, mps Apple silicon's GPU."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Replace what an earlier run wrote to --out.")
]
