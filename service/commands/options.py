"""Options and exit codes that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.data.errors import UsageError
from earful.data.labels.csv_options import CsvOptions, parse_columns
from earful.models.bundle.device import Device

EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2
EXIT_INTERRUPTED = 130
# 128 + SIGPIPE, as of tools that the signal ends.
EXIT_READER_GONE = 141

Engine = Literal["local", "ray"]
EngineOption = Annotated[Engine, typer.Option(help="Compute on this machine, or on Ray.")]
RayAddressOption = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster. (default: this machine)")
]

ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="Columns of the CSV by name, such as label=category,filename=path; start=,end= leaves "
        "columns aside. Repeatable. (default: by usual names)",
    ),
]
LabelSeparatorOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="What stands between several labels of one cell, such as ','. (default: only |)",
    ),
]

NoEscapeOption = Annotated[
    bool,
    typer.Option(
        "--no-escape",
        help="Leave out the apostrophe before names that a spreadsheet would run as formulas.",
    ),
]

_MODEL_HELP = (
    "Model file, or NAME, NAME@NUMBER or NAME@ALIAS in the registry. (default: the shipped model)"
)
_DEVICE_HELP = "Device; auto is CUDA if there is one."
_REJECT_HELP = "Answer `unknown` where the best score is below the model's rejection threshold."

RejectOption = Annotated[bool, typer.Option("--reject", help=_REJECT_HELP)]
ModelOption = Annotated[str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL")]
RegistryOption = Annotated[
    str,
    typer.Option(
        metavar="PLACE", envvar="EARFUL_REGISTRY", help="Folder or URL of released models."
    ),
]
ClassifyDeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP)]

# A deployment sets these in its environment, as it sets the limits (service.core.settings).
ServeModelOption = Annotated[
    str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL", envvar="EARFUL_MODEL")
]
ServeRejectOption = Annotated[
    bool, typer.Option("--reject", help=_REJECT_HELP, envvar="EARFUL_REJECT")
]
ServeDeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP, envvar="EARFUL_DEVICE")]


def check_engine(engine: Engine, ray_address: str | None) -> None:
    """Refuse an address without the engine that uses it."""
    if ray_address and engine != "ray":
        raise UsageError("--ray-address goes with --engine ray")


def csv_options(
    audio_dir: Path | None, columns: list[str] | None, label_separator: str
) -> CsvOptions:
    """What the flags say about a labels CSV.

    Raises:
        UsageError: ``--columns`` is not as it must be.
    """
    return CsvOptions(audio_dir, parse_columns(columns or []), label_separator)


def csv_flags(options: CsvOptions) -> list[object]:
    """The flags that give these options, for the next command that reads the CSV."""
    columns = [f"{role}={_quote(name)}" for role, name in options.columns.items()]
    return flags_of(
        {
            "audio_dir": options.audio_dir,
            "columns": ",".join(columns),
            "label_separator": options.label_separator,
        }
    )


def flags_of(values: Mapping[str, object]) -> list[object]:
    """Flags and values by name, in turn, without what is not given: None, False or empty."""
    given = {
        f"--{name.replace('_', '-')}": value
        for name, value in values.items()
        if value is not None and value is not False and value != ""
    }
    return [word for flag_and_value in given.items() for word in flag_and_value]


def _quote(name: str) -> str:
    return f'"{name}"' if "," in name else name
