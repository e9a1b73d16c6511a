"""``earful export``: a run as one ONNX file, or as a site that classifies in a browser."""

import shlex
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.errors import UsageError
from earful.service.commands.next_steps import format_command, print_message, print_next
from earful.service.core.echo import echo

if TYPE_CHECKING:
    from earful.training.export.web_site import SiteResult


class Target(StrEnum):
    """What ``export`` writes."""

    ONNX = "onnx"
    WEB = "web"


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run folder made by `earful train`; with --target web also a model file.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="MODEL.onnx|SITE", help="ONNX file to write; with --target web a folder."
        ),
    ],
    target: Annotated[
        Target,
        typer.Option(help="onnx: a model file. web: a static site that classifies in the browser."),
    ] = Target.ONNX,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tgz",
            help="With --target web: the package that `npm pack onnxruntime-web@VERSION` fetches.",
        ),
    ] = None,
) -> None:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch, or as a web page."""
    if target is Target.WEB:
        return _export_site(run, out, web_runtime)
    if web_runtime is not None:
        raise UsageError("--web-runtime is for --target web; leave it out, or add the target")
    _export_model(run, out)
    return None


def _export_model(run: Path, out: Path) -> None:
    from earful.training.runs.run_dataset import read_run_dataset

    _write_model(run, out)
    print_next(("evaluate", out, read_run_dataset(run) or "DATASET"), ("serve", "--model", out))


def _write_model(run: Path, out: Path) -> None:
    from earful.training.api.export import export as export_run
    from earful.training.runs.run_dataset import resume_words

    exported = export_run(run, out)
    if not exported.finished:
        print_message(f"note: {run} was stopped before its last epoch; continue it with:")
        echo(format_command(resume_words(run)), err=True)
    echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, "
        f"{len(exported.metadata.labels)} labels"
    )
    echo(f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}")


def _export_site(source: Path, out: Path, package: Path | None) -> None:
    from earful.models.registry.find_model import find_model
    from earful.training.export.web_runtime import read_web_runtime
    from earful.training.export.web_site import write_site

    runtime = read_web_runtime(package)
    if not source.is_dir():
        _report_site(write_site(find_model(str(source)), source.stem, out, runtime))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        _write_model(source, model)
        _report_site(write_site(model, source.resolve().name, out, runtime))


def _report_site(site: "SiteResult") -> None:
    echo(f"{site.path}: {site.size_bytes / 1e6:.1f} MB, {site.n_labels} labels")
    print_message("put the folder on any web server; to try it here:")
    echo(
        f"  python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(site.path))}",
        err=True,
    )
