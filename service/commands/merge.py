"""``earful merge``: merge the results of several shards."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import print_next
from earful.service.commands.options import EXIT_SOME_FAILED
from earful.service.core.echo import echo


def merge(
    shard_results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="Results of all shards.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Merged results to write.")],
) -> None:
    """Merge the results of `classify --num-shards`, as if one run had written them."""
    from earful.service.batch.merge import merge_results
    from earful.service.batch.summary import format_counts

    stats = merge_results(shard_results, out)
    echo(f"{format_counts(stats)}\nresults in {out}", err=True)
    print_next(("report", out))
    if stats.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
