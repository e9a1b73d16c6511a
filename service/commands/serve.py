"""``earful serve``: the HTTP service."""

from typing import Annotated, Literal

import typer

from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.options import (
    RegistryOption,
    ServeDeviceOption,
    ServeModelOption,
    ServeRejectOption,
)


def serve(
    model: ServeModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 is any free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Number of processes; best is one per core.")
    ] = 1,
    wyoming: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Also serve the labels as wake words for Home Assistant, on this port "
            "(Wyoming protocol; 0 is any free one).",
        ),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    reject: ServeRejectOption = False,
    device: ServeDeviceOption = "cpu",
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of feedback: sqlite:///FILE, postgresql+psycopg://... (with a password "
            "better in EARFUL_FEEDBACK_URL), or off. (default: artifacts/feedback/feedback.db)",
        ),
    ] = None,
    save_recordings: Annotated[
        Literal["off", "feedback", "uncertain", "all"] | None,
        typer.Option(
            help="Recordings to save: none, those with feedback, also those of low confidence, or "
            "all. (default: EARFUL_SAVE_RECORDINGS, else off)"
        ),
    ] = None,
) -> None:
    """Serve a model over HTTP, with a web page at / and the API described at /docs.

    Ctrl-C or SIGTERM stops it when running requests are answered, with exit code 0.
    """
    from earful.service.server.server import run_server

    run_server(
        model,
        host,
        port,
        device,
        registry=registry,
        reject=reject,
        workers=workers,
        wyoming_port=wyoming,
        feedback=feedback,
        save_recordings=save_recordings,
    )
