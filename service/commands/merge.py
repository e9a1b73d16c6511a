"""``earful merge``: put the results of several shards together."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.options import (
    EXIT_SOME_FAILED,
)


def merge(
    pieces: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="The results of all shards.")
    ],
    out: Annotated[Path, typer.Option(help="Results of all of them.")],
) -> None:
    """Put together what `classify --num-shards` has written, as if one run had made it."""
    from earful.service.batch.merge import merge as join
    from earful.service.batch.summary import counted

    tally = join(pieces, out)
    typer.echo(f"{counted(tally)}; results in {out}", err=True)
    if tally.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
