"""The ``earshot`` command: ``classify`` and ``serve``, and the commands of ``training``.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 done, but some inputs
failed and were reported; 2 nothing done, with one clear sentence; 130 interrupted.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from data.errors import EarshotError
from models.device import Device

EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2
# What only the extra ``train`` brings; without it the message names the install command.
TRAINING_PACKAGES = frozenset(
    {"torch", "torchaudio", "librosa", "pandas", "scipy", "sklearn", "onnx", "onnxscript",
     "matplotlib", "tensorboard"}
)  # fmt: skip

_MODEL_HELP = "Model file; the shipped digit model without it."
_DEVICE_HELP = "Where to compute; auto takes CUDA if usable."
_REJECT_HELP = "Answer `unknown` to what scores below the model's threshold."
RejectOption = Annotated[bool, typer.Option("--reject", help=_REJECT_HELP)]
ModelOption = Annotated[str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL")]
DeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP)]
# A deployment sets these in its environment, as it sets the limits (service.settings).
ServedModelOption = Annotated[
    str | None, typer.Option(help=_MODEL_HELP, metavar="MODEL", envvar="EARSHOT_MODEL")
]
ServedRejectOption = Annotated[
    bool, typer.Option("--reject", help=_REJECT_HELP, envvar="EARSHOT_REJECT")
]
ServedDeviceOption = Annotated[Device, typer.Option(help=_DEVICE_HELP, envvar="EARSHOT_DEVICE")]


def build_app() -> typer.Typer:
    """All commands. Importing them is cheap: each imports what it needs when it runs."""
    # The one import upwards: the command line shows all packages, also in a serving-only install.
    from training.cli import add_training_commands

    app = typer.Typer(
        name="earshot",
        help="Train, measure, export and serve audio classifiers that work on voices never heard.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_training_commands(app)
    app.command()(classify)
    app.command()(serve)
    return app


def main() -> None:
    """Entry point: runs a command and turns errors into one sentence and an exit code."""
    # Threads of torch that spin while they wait halve the speed on a machine that is busy with
    # other work. Read when the OpenMP library is loaded, so it is set before any import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        build_app()()
    except EarshotError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        _fail(f"this command needs {package}; install it with: pip install 'earshot[train]'")
    except OSError as error:
        _fail(f"cannot use {error.filename or 'a file'}: {error.strerror or error}")


def _fail(message: str) -> NoReturn:
    typer.echo(f"earshot: {message}", err=True)
    sys.exit(EXIT_NOTHING_DONE)


def classify(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders to search.")],
    model: ModelOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Results file, .csv or .jsonl; CSV on stdout without it.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many labels a row names.")] = 1,
    windows: Annotated[
        bool, typer.Option("--windows", help="A row for every window of a long recording.")
    ] = False,
    reject: RejectOption = False,
    device: DeviceOption = "cpu",
) -> None:
    """Classify audio files and folders: a row for every file, also for those that fail."""
    from models.released import find_model
    from service.batch import classify_files, find_files, open_writer, output_suffix, write_rows
    from service.classifier import Classifier

    suffix = ".csv" if out is None else output_suffix(out)
    files = find_files(paths)
    classifier = Classifier.open(find_model(model), device, reject=reject)
    with _results_file(out) as file, _progress("classify", len(files)) as on_file:
        writer = open_writer(file, suffix, min(top_k, len(classifier.labels)))
        total, failed = write_rows(
            classify_files(classifier, files, windows=windows), writer, on_file
        )
    where = "" if out is None else f"; results in {out}"
    if out is not None or failed:
        typer.echo(
            f"{total - failed} of {total} files classified, {failed} failed{where}", err=True
        )
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def serve(
    model: ServedModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes; one a core is best.")
    ] = 1,
    reject: ServedRejectOption = False,
    device: ServedDeviceOption = "cpu",
) -> None:
    """Serve a model: a page at /, POST /v1/classify, /hf, /v2, WS /v1/stream, /metrics, /docs."""
    from models.released import find_model
    from service.server import run_server

    run_server(find_model(model), host, port, device, reject=reject, workers=workers)


@contextlib.contextmanager
def _results_file(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        sys.stdout.flush()  # while Typer still handles a reader that has gone (head, say)
        return
    from data.staging import staged_file

    with staged_file(out) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[bool], None]]:
    """A bar on stderr, when that is a terminal and there is enough to do."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda failed: None
        return
    from service.progress import file_progress

    with file_progress(what, total) as on_file:
        yield on_file
