"""``earful serve``: the HTTP service."""

from typing import Annotated, Literal

import typer

from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.service.commands.options import (
    RegistryOption,
    ServeDeviceOption,
    ServeModelOption,
    ServeRejectOption,
)


def serve(
    model: ServeModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes; one a core is best.")
    ] = 1,
    registry: RegistryOption = DEFAULT_REGISTRY,
    reject: ServeRejectOption = False,
    device: ServeDeviceOption = "cpu",
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where labels that people give are kept: sqlite:///FILE, postgresql+psycopg://... "
            "(better in EARFUL_FEEDBACK_URL if it has a password), or off; "
            "artifacts/feedback/feedback.db without it.",
        ),
    ] = None,
    save_recordings: Annotated[
        Literal["off", "feedback", "uncertain", "all"] | None,
        typer.Option(
            help="Which recordings are kept: none; those that come with feedback; also those the "
            "model is unsure of; all. EARFUL_SAVE_RECORDINGS or off without it."
        ),
    ] = None,
) -> None:
    """Serve a model: a page at /, POST /v1/classify, /hf, /v2, WS /v1/stream, /metrics, /docs."""
    from earful.service.server.server import run_server

    run_server(
        model, host, port, device, registry=registry, reject=reject, workers=workers,
        feedback=feedback, save_recordings=save_recordings,
    )  # fmt: skip
