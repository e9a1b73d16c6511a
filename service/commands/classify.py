"""``earful classify``: labels of files, folders, lists and standard input."""

import contextlib
import glob
import math
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from earful.data.errors import UsageError, did_you_mean_path
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.next_steps import keep_on_interrupt, print_message, print_next
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ClassifyDeviceOption,
    ColumnsOption,
    EngineOption,
    ModelOption,
    NoEscapeOption,
    RayAddressOption,
    RegistryOption,
    RejectOption,
    check_engine,
    csv_options,
)
from earful.service.core.echo import echo

if TYPE_CHECKING:
    from earful.service.batch.items import ClassifyOptions
    from earful.service.batch.request import BatchProgress

# As ``service.batch.items.Mode``, which is imported when the command runs.
Mode = Literal["file", "events", "windows"]
MIN_HOP_SECONDS, MAX_HOP_SECONDS = 0.001, 3600.0


def _refuse_replaced_flag(is_given: bool) -> None:
    if is_given:
        raise UsageError(
            "--windows is --mode windows; --merge is --mode events, the default for long recordings"
        )


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
        typer.Option(
            metavar="FILE", help="Results: .csv, .jsonl or .parquet. (default: CSV on stdout)"
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, jsonl or parquet (default: by the suffix of --out); audacity or raven: one "
            "file per recording in the folder --out.",
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels per row.")] = 1,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="A row per file, event or window. (default: per event of a recording longer than "
            "1.5 clips, per file otherwise and in lists with labels)"
        ),
    ] = None,
    hop_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Seconds between windows. (default: a quarter of a clip)"
        ),
    ] = None,
    min_score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE",
            help="Leave out events and windows that score lower, 0 to 1; LABEL=SCORE, also "
            "repeated, for events of one label. (default: for events the model's rejection "
            "threshold, for windows 0)",
        ),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Label that is no event; repeat it for several. (default: silence, noise, "
            "background, _background_noise_)",
        ),
    ] = None,
    _replaced_flag: Annotated[
        bool,
        typer.Option("--windows", "--merge", hidden=True, callback=_refuse_replaced_flag),
    ] = False,
    reject: RejectOption = False,
    audio_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of relative names in a list. (default: that of the list)"
        ),
    ] = None,
    columns: ColumnsOption = None,
    no_escape: NoEscapeOption = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Number of processes. (default: one per core)"),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over, and replace what --out holds.")
    ] = False,
    num_shards: Annotated[
        int | None, typer.Option(min=1, help="Number of shards; this run does one of them.")
    ] = None,
    shard_index: Annotated[
        int | None,
        typer.Option(
            min=0, help="Shard of this run, from 0. (default: by the scheduler's variables)"
        ),
    ] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    device: ClassifyDeviceOption = "cpu",
) -> None:
    """Classify files, folders and lists: a row for every input, also for those that fail.

    A recording longer than 1.5 clips gives a row per event.

    With --out an interrupted run is continued by the same command.
    """
    from earful.models.registry.find_model import find_model
    from earful.service.batch.formats import output_format
    from earful.service.batch.request import BatchRequest, ShardSpec
    from earful.service.batch.run import run

    options = _options(mode, hop_seconds, min_score, background, top_k)
    check_engine(engine, ray_address)
    if ray_address and out is None:
        raise UsageError("--ray-address needs --out, on a file system all machines see")
    format_name = output_format(out, format_name)
    sharded = shard_index is not None or num_shards is not None
    if sharded and out is None:
        raise UsageError("--num-shards needs --out, for the results of this shard")
    shard_spec, variable = ShardSpec(0, 1), ""
    if out is not None:
        from earful.service.batch.scheduler import find_shard

        shard_spec, variable = find_shard(shard_index, num_shards)
    if not shard_spec.is_whole:
        source_note = f" (by {variable})" if variable else ""
        echo(f"shard {shard_spec.index} of {shard_spec.count}{source_note}", err=True)
    request = BatchRequest(
        paths=tuple(paths),
        model=find_model(model, registry),
        out=out,
        format_name=format_name,
        mark_formulas=not no_escape,
        options=options,
        reject=reject,
        device=device,
        csv_options=csv_options(audio_dir, columns, ""),
        shard_spec=shard_spec,
        restart=restart,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
    )
    _suggest_paths(paths)
    kept = "nothing is kept without --out"
    if out is not None:
        kept = "finished inputs are kept; the same command continues"
    with keep_on_interrupt(kept), _progress() as progress, _exit_on_sigterm():
        outcome = run(request, progress)
    if out is not None or outcome.stats.failed or outcome.stats.labelled:
        from earful.service.batch.summary import format_summary

        echo(format_summary(outcome), err=True)
    if out is not None and shard_spec.is_whole and out.is_file():
        print_next(("report", out))
    if outcome.stats.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _suggest_paths(paths: list[str]) -> None:
    """Name the nearest file for each mistyped path, whose row is an error."""
    for path in paths:
        hint = "" if "://" in path or path == "-" else did_you_mean_path(Path(path))
        if hint and not glob.has_magic(path):
            print_message(f"note: there is no {path}{hint}")


def _options(
    mode: Mode | None,
    hop_seconds: float | None,
    min_score: list[str] | None,
    background: list[str] | None,
    top_k: int,
) -> "ClassifyOptions":
    """The options; refuses those that the mode does not use, and a hop that is out of range."""
    from earful.service.batch.items import ClassifyOptions

    if hop_seconds is not None and mode != "windows":
        raise UsageError("--hop-seconds is the distance between windows; add --mode windows")
    if min_score is not None and mode == "file":
        raise UsageError("--min-score is for events and windows; leave out --mode file")
    if background is not None and mode in ("file", "windows"):
        raise UsageError(f"--background is for events; leave out --mode {mode}")
    if hop_seconds is not None and not MIN_HOP_SECONDS <= hop_seconds <= MAX_HOP_SECONDS:
        raise UsageError(
            f"--hop-seconds is from {MIN_HOP_SECONDS:g} to {MAX_HOP_SECONDS:g} s, found "
            f"{hop_seconds:g}"
        )
    lowest, by_label = _min_scores(min_score or [])
    if by_label and mode == "windows":
        raise UsageError("--min-score LABEL=SCORE is for events; leave out --mode windows")
    options = ClassifyOptions(mode, hop_seconds, lowest, by_label, top_k=top_k)
    return options if background is None else replace(options, background=tuple(background))


def _min_scores(texts: list[str]) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """The score for all labels, and those for single ones, of SCORE and LABEL=SCORE."""
    lowest: float | None = None
    by_label: dict[str, float] = {}
    for text in texts:
        label, equals, number = text.rpartition("=")
        try:
            score = float(number)
        except ValueError:
            score = math.nan
        if not 0 <= score <= 1 or (equals and not label):
            raise UsageError(f"--min-score is SCORE or LABEL=SCORE, 0 to 1, found {text!r}")
        if label in by_label or (not equals and lowest is not None):
            raise UsageError(f"--min-score {text}: that score is given twice")
        if equals:
            by_label[label] = score
        else:
            lowest = score
    return lowest, tuple(sorted(by_label.items()))


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Shut down gracefully on SIGTERM: end worker processes, remove temporary files."""

    def exit_process(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    previous_handler = signal.signal(signal.SIGTERM, exit_process)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@contextlib.contextmanager
def _progress() -> "Iterator[BatchProgress | None]":
    """A progress bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from earful.service.batch.progress import batch_progress

    with batch_progress() as progress:
        yield progress
