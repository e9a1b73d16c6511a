"""The ``earful`` command: ``classify`` and ``serve``, and the commands of ``training``.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 done, but some inputs
failed and were reported; 2 nothing done, with one clear sentence; 130 interrupted.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from earful.data.errors import EarfulError
from earful.models.device import Device
from earful.models.registry.catalogue import DEFAULT_ROOT
from earful.service.feedback.commands import feedback_commands

if TYPE_CHECKING:
    from earful.service.batch.run import Progress

EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2
LEAST_HOP_SECONDS, MOST_HOP_SECONDS = 0.001, 3600.0
# What only the extra ``train`` brings; without it the message names the install command.
TRAINING_PACKAGES = frozenset(
    {"torch", "torchaudio", "librosa", "pandas", "scipy", "sklearn", "onnx", "onnxscript",
     "matplotlib", "tensorboard"}
)  # fmt: skip

Engine = Literal["local", "ray"]
EngineOption = Annotated[Engine, typer.Option(help="Who computes: this machine, or Ray.")]
RayAddressOption = Annotated[
    str | None, typer.Option(help="A running Ray cluster; Ray on this machine without it.")
]

_MODEL_HELP = "Model file, or NAME or NAME@VERSION of the registry; the shipped one without it."
_DEVICE_HELP = "Where to compute; auto takes CUDA if usable."
_REJECT_HELP = "Answer `unknown` to what scores below the model's threshold."
RejectOption = Annotated[bool, typer.Option("--reject", help=_REJECT_HELP)]
ModelOption = Annotated[str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL")]
RegistryOption = Annotated[
    str,
    typer.Option(
        metavar="PLACE", envvar="EARFUL_REGISTRY", help="Folder or URL of released models."
    ),
]
DeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP)]
# A deployment sets these in its environment, as it sets the limits (service.settings).
ServedModelOption = Annotated[
    str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL", envvar="EARFUL_MODEL")
]
ServedRejectOption = Annotated[
    bool, typer.Option("--reject", help=_REJECT_HELP, envvar="EARFUL_REJECT")
]
ServedDeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP, envvar="EARFUL_DEVICE")]


def build_app() -> typer.Typer:
    """All commands. Importing them is cheap: each imports what it needs when it runs."""
    # The one import upwards: the command line shows all packages, also in a serving-only install.
    from earful.training.cli import add_training_commands

    app = typer.Typer(
        name="earful",
        help="Train, measure, export and serve audio classifiers that work on voices never heard.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_training_commands(app)
    app.command()(classify)
    app.command()(merge)
    app.command()(serve)
    app.add_typer(feedback_commands(), name="feedback")
    return app


def main() -> None:
    """Entry point: runs a command and turns errors into one sentence and an exit code."""
    # Threads of torch that spin while they wait halve the speed on a machine that is busy with
    # other work. Read when the OpenMP library is loaded, so it is set before any import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        build_app()()
    except EarfulError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        _fail(f"this command needs {package}; install it with: uv sync --inexact --extra train")
    except OSError as error:
        _fail(f"cannot use {error.filename or 'a file'}: {error.strerror or error}")


def check_engine(engine: Engine, ray_address: str | None) -> None:
    """Refuse an address that nobody would use."""
    if ray_address and engine != "ray":
        raise typer.BadParameter("--ray-address goes with --engine ray")


def _fail(message: str) -> NoReturn:
    typer.echo(f"earful: {message}", err=True)
    sys.exit(EXIT_NOTHING_DONE)


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
    from earful.models.released import find_model
    from earful.service.batch.formats import output_format
    from earful.service.batch.hear import Options
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


def serve(
    model: ServedModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes; one a core is best.")
    ] = 1,
    registry: RegistryOption = DEFAULT_ROOT,
    reject: ServedRejectOption = False,
    device: ServedDeviceOption = "cpu",
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where labels that people give are kept: sqlite:///FILE, postgresql+psycopg://... "
            "(better in EARFUL_FEEDBACK_URL if it has a password), or off; "
            "artifacts/feedback/feedback.db without it.",
        ),
    ] = None,
    keep_audio: Annotated[
        Literal["off", "feedback", "uncertain", "all"] | None,
        typer.Option(
            help="Which recordings are kept: none; those that come with feedback; also those the "
            "model is unsure of; all. EARFUL_KEEP_AUDIO or off without it."
        ),
    ] = None,
) -> None:
    """Serve a model: a page at /, POST /v1/classify, /hf, /v2, WS /v1/stream, /metrics, /docs."""
    from earful.service.server import run_server

    run_server(
        model, host, port, device, registry=registry, reject=reject, workers=workers,
        feedback=feedback, keep_audio=keep_audio,
    )  # fmt: skip


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
    from earful.service.progress import batch_progress

    with batch_progress() as progress:
        yield progress
