"""The command that shows it all: demo."""

from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError
from earful.training.commands.options import AudioDirOption


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Your own clips; spoken digits without it."),
    ] = None,
    words: Annotated[
        str | None, typer.Option(help="Your own words, comma-separated, without a recording.")
    ] = None,
    audio_dir: AudioDirOption = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path(
        "artifacts/demo"
    ),
    run_server: Annotated[
        bool, typer.Option("--serve", help="Serve the model at the end.")
    ] = False,
) -> None:
    """The whole way in about a minute: data, training, evaluation, export, a classified file."""
    from earful.training.recipes.demo import WORDS, run_demo

    if words is not None and data is not None:
        raise EarfulError("--data trains on recordings and --words on synthetic voices; give one")
    spoken = WORDS if words is None else tuple(word.strip() for word in words.split(","))
    if len(spoken) < 2:
        raise EarfulError("--words needs two words or more to tell apart, comma-separated")
    model = run_demo(data, audio_dir, out, spoken)
    if run_server:
        from earful.service.server.server import run_server as serve_model

        serve_model(str(model), "127.0.0.1", 8000, "cpu")
