"""``earful classify``: files, folders, lists and standard input to labels."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from earful.models.registry.catalogue import DEFAULT_ROOT

if TYPE_CHECKING:
    from earful.service.batch.run import Progress
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    DeviceOption,
    EngineOption,
    ModelOption,
    RayAddressOption,
    RegistryOption,
    RejectOption,
    check_engine,
)

LEAST_HOP_SECONDS, MOST_HOP_SECONDS = 0.001, 3600.0


def classify(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Audio files, folders to search, globs, URLs, a CSV or text file that lists them, "
            "or - for a list or audio on standard input."
        ),
    ],
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Results: .csv, .jsonl or .parquet; CSV on stdout without it."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, jsonl or parquet, by the suffix of --out without it; audacity or raven "
            "write a file a recording into the folder --out.",
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many labels a row names.")] = 1,
    windows: Annotated[
        bool, typer.Option("--windows", help="A row for every window of a long recording.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="From window to window; a quarter of a clip."),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out windows that score lower.")
    ] = 0.0,
    merge_hits: Annotated[
        bool, typer.Option("--merge", help="One row for neighbouring windows of one label.")
    ] = False,
    reject: RejectOption = False,
    audio_dir: Annotated[
        Path | None, typer.Option(help="Folder of relative names in a list; the list's own.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes; one a core without it.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew what --out holds already.")
    ] = False,
    num_shards: Annotated[
        int | None, typer.Option(min=1, help="Do one of so many shards; for schedulers.")
    ] = None,
    shard_index: Annotated[
        int | None,
        typer.Option(min=0, help="Which, from 0; the scheduler's variable says it too."),
    ] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    registry: RegistryOption = DEFAULT_ROOT,
    device: DeviceOption = "cpu",
) -> None:
    """Classify files, folders and lists: a row for every input, also for those that fail.

    With --out the run can be ended at any moment; the same command goes on where it was.
    """
    from earful.models.registry.find_model import find_model
    from earful.service.batch.classify_inputs import Options
    from earful.service.batch.formats import output_format
    from earful.service.batch.run import Request, run
    from earful.service.batch.scheduler import Piece, find_piece
    from earful.service.batch.summary import summary

    _check_windows(windows, hop, min_score, merge_hits)
    check_engine(engine, ray_address)
    if ray_address and out is None:
        raise typer.BadParameter("--ray-address needs --out, on a file system all machines see")
    form = output_format(out, form)
    asked = shard_index is not None or num_shards is not None
    if asked and out is None:
        raise typer.BadParameter("--num-shards needs --out: each shard has results of its own")
    piece, variable = (Piece(0, 1), "") if out is None else find_piece(shard_index, num_shards)
    if not piece.whole:
        by = f" (by {variable})" if variable else ""
        typer.echo(f"shard {piece.index} of {piece.count}{by}", err=True)
    request = Request(
        tuple(paths), find_model(model, registry), out, form,
        Options(windows, hop, min_score, merge_hits, top_k), reject, device, audio_dir, piece,
        restart, workers, engine, ray_address,
    )  # fmt: skip
    try:
        with _progress() as progress, _ended_by_sigterm():
            outcome = run(request, progress)
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("interrupted; the same command goes on from here", err=True)
        raise
    if out is not None or outcome.tally.failed:
        typer.echo(summary(outcome), err=True)
    if outcome.tally.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_windows(windows: bool, hop: float | None, min_score: float, merge_hits: bool) -> None:
    """Refuse what would choose among windows where there are none, and hops without sense."""
    if not windows and (hop is not None or min_score or merge_hits):
        raise typer.BadParameter(
            "--hop, --min-score and --merge choose among windows; add --windows"
        )
    if hop is not None and not LEAST_HOP_SECONDS <= hop <= MOST_HOP_SECONDS:
        raise typer.BadParameter(
            f"--hop is from {LEAST_HOP_SECONDS:g} to {MOST_HOP_SECONDS:g} s, found {hop:g}"
        )


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """A polite end runs what cleans up: worker processes and temporary files."""

    def end(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _progress() -> "Iterator[Progress | None]":
    """A bar on stderr, when that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from earful.service.batch.progress import batch_progress

    with batch_progress() as progress:
        yield progress
