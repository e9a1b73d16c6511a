"""``earful classify``: files, folders, lists and standard input to labels."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from earful.models.registry.catalogue import DEFAULT_REGISTRY

if TYPE_CHECKING:
    from earful.service.batch.run import BatchProgress
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ClassifyDeviceOption,
    EngineOption,
    ModelOption,
    RayAddressOption,
    RegistryOption,
    RejectOption,
    check_engine,
)

MIN_HOP_SECONDS, MAX_HOP_SECONDS = 0.001, 3600.0


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
    format_name: Annotated[
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
    merge_windows: Annotated[
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
    registry: RegistryOption = DEFAULT_REGISTRY,
    device: ClassifyDeviceOption = "cpu",
) -> None:
    """Classify files, folders and lists: a row for every input, also for those that fail.

    With --out the run can be ended at any moment; the same command goes on where it was.
    """
    from earful.models.registry.find_model import find_model
    from earful.service.batch.classify_inputs import ClassifyOptions
    from earful.service.batch.formats import output_format
    from earful.service.batch.run import BatchRequest, run
    from earful.service.batch.scheduler import ShardSpec, find_shard
    from earful.service.batch.summary import format_summary

    _check_windows(windows, hop, min_score, merge_windows)
    check_engine(engine, ray_address)
    if ray_address and out is None:
        raise typer.BadParameter("--ray-address needs --out, on a file system all machines see")
    format_name = output_format(out, format_name)
    sharded = shard_index is not None or num_shards is not None
    if sharded and out is None:
        raise typer.BadParameter("--num-shards needs --out: each shard has results of its own")
    shard_spec, variable = (
        (ShardSpec(0, 1), "") if out is None else find_shard(shard_index, num_shards)
    )
    if not shard_spec.is_whole:
        source_note = f" (by {variable})" if variable else ""
        typer.echo(f"shard {shard_spec.index} of {shard_spec.count}{source_note}", err=True)
    request = BatchRequest(
        tuple(paths), find_model(model, registry), out, format_name,
        ClassifyOptions(windows, hop, min_score, merge_windows, top_k), reject, device, audio_dir, shard_spec,
        restart, workers, engine, ray_address,
    )  # fmt: skip
    try:
        with _progress() as progress, _exit_on_sigterm():
            outcome = run(request, progress)
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("interrupted; the same command goes on from here", err=True)
        raise
    if out is not None or outcome.stats.failed:
        typer.echo(format_summary(outcome), err=True)
    if outcome.stats.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_windows(windows: bool, hop: float | None, min_score: float, merge_windows: bool) -> None:
    """Refuse what would choose among windows where there are none, and hops without sense."""
    if not windows and (hop is not None or min_score or merge_windows):
        raise typer.BadParameter(
            "--hop-seconds, --min-score and --merge choose among windows; add --windows"
        )
    if hop is not None and not MIN_HOP_SECONDS <= hop <= MAX_HOP_SECONDS:
        raise typer.BadParameter(
            f"--hop-seconds is from {MIN_HOP_SECONDS:g} to {MAX_HOP_SECONDS:g} s, found {hop:g}"
        )


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """A polite end runs what cleans up: worker processes and temporary files."""

    def exit_process(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    previous_handler = signal.signal(signal.SIGTERM, exit_process)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@contextlib.contextmanager
def _progress() -> "Iterator[BatchProgress | None]":
    """A bar on stderr, when that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from earful.service.batch.progress import batch_progress

    with batch_progress() as progress:
        yield progress
