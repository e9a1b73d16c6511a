"""A server process around the app: settings from the environment and the command line."""

import os
import signal
import socket
import sys
from pathlib import Path

import typer
import uvicorn
from pydantic import ValidationError

from data.errors import EarshotError
from models.bundle import open_bundle
from models.device import Device
from service.app import create_app
from service.settings import Settings


class ServerError(EarshotError):
    """The server cannot start."""


def run_server(model: Path, host: str, port: int, device: Device, *, reject: bool = False) -> None:
    """Serve until interrupted.

    Raises:
        ModelError: the model cannot be used.
        ServerError: the address is taken or not ours.
    """
    # Uvicorn hands the signal on when it has shut down: being told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    settings = _settings(model, device, reject)
    described = _describe(model, device)
    listener = _listen(host, port)
    address = listener.getsockname()
    shown = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    url = f"http://{shown}:{address[1]}"
    typer.echo(f"serving {described} at {url}", err=True)
    typer.echo(f"try: curl -F file=@clip.wav {url}/v1/classify", err=True)
    config = uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise ServerError("the service did not start; the reason is logged above")


def _describe(model: Path, device: Device) -> str:
    """Try the model, so that what is wrong with it is told in a sentence; it is not kept open."""
    bundle = open_bundle(model, device)
    return f"{model} ({len(bundle.metadata.labels)} labels, {bundle.provider})"


def _settings(model: Path, device: Device, reject: bool) -> Settings:
    known = {f"EARSHOT_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(n for n in os.environ if n.startswith("EARSHOT_") and n not in known)
    if unknown:
        raise ServerError(
            f"no setting is called {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    try:
        return Settings(model=model, device=device, reject=reject)
    except ValidationError as error:
        wrong = [
            f"EARSHOT_{str(e['loc'][0]).upper()} is {e['input']!r}: {e['msg']}"
            for e in error.errors()
        ]
        raise ServerError("; ".join(wrong)) from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a host name's label too long is a UnicodeError
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # also found taken by a server that started in the same moment
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: Exception) -> ServerError:
    reason = getattr(error, "strerror", None) or error
    return ServerError(
        f"cannot listen on {host}, port {port}: {reason}; give another --host or --port"
    )
