"""``earful merge``: put the results of several shards together."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.options import (
    EXIT_SOME_FAILED,
)


def merge(
    shard_results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="The results of all shards.")
    ],
    out: Annotated[Path, typer.Option(help="Results of all of them.")],
) -> None:
    """Put together what `classify --num-shards` has written, as if one run had made it."""
    from earful.service.batch.merge import merge_results
    from earful.service.batch.summary import format_counts

    stats = merge_results(shard_results, out)
    typer.echo(f"{format_counts(stats)}; results in {out}", err=True)
    if stats.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
