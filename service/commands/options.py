"""Options and exit codes that several commands share."""

from typing import Annotated, Literal

import typer

from earful.data.errors import UsageError
from earful.models.bundle.device import Device

EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2
EXIT_INTERRUPTED = 130

Engine = Literal["local", "ray"]
EngineOption = Annotated[Engine, typer.Option(help="Compute on this machine, or on Ray.")]
RayAddressOption = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster. (default: this machine)")
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
