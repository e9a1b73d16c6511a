"""``earful demo``: all steps from labels to a classified file."""

from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import UsageError
from earful.service.commands.next_steps import keep_on_interrupt
from earful.service.commands.options import (
    ColumnsOption,
    LabelSeparatorOption,
    csv_options,
)
from earful.training.commands.options import AudioDirOption


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Your own clips. (default: synthetic digits)"),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(help="Your own words, comma-separated, spoken by synthetic voices."),
    ] = None,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for all files of the demo.")
    ] = Path("artifacts/demo"),
    run_server: Annotated[
        bool, typer.Option("--serve", help="Serve the model at the end.")
    ] = False,
) -> None:
    """Prepare, train, export, evaluate and classify, in about a minute."""
    from earful.training.recipes.demo import MARKER, WORDS, run_demo

    if words is not None and data is not None:
        raise UsageError(
            "--data trains on recordings and --words on synthetic voices; give one of them"
        )
    options = csv_options(audio_dir, columns, label_separator)
    utterances = WORDS if words is None else tuple(word.strip() for word in words.split(","))
    if len(utterances) < 2:
        raise UsageError("--words needs two words or more to tell apart, comma-separated")
    had_demo = (out / MARKER).is_file()
    kept = f"the earlier demo in {out} is unchanged" if had_demo else "nothing was kept"
    with keep_on_interrupt(kept):
        model = run_demo(data, options, out, utterances)
    if run_server:
        from earful.service.server.server import run_server as serve_model

        serve_model(str(model), "127.0.0.1", 8000, "cpu")
