"""``earful export``: a run as one ONNX file, as a site for browsers, or for small devices."""

import shlex
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.service.commands.next_steps import format_command, print_message, print_next
from earful.service.core.echo import echo
from earful.training.export.export_options import check_export_options

if TYPE_CHECKING:
    from earful.models.bundle.quantization import Quantization
    from earful.training.export.web_site import SiteResult
    from earful.training.metrics.paired_accuracy import PairedAccuracy


class Target(StrEnum):
    """What ``export`` writes."""

    ONNX = "onnx"
    WEB = "web"
    TFLITE = "tflite"


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
        typer.Option(metavar="MODEL|SITE", help="File to write; with --target web a folder."),
    ],
    target: Annotated[
        Target,
        typer.Option(
            help="onnx: a model file. web: a static site that classifies in the browser. "
            "tflite: a file for phones and microcontrollers."
        ),
    ] = Target.ONNX,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tgz",
            help="With --target web: the package that `npm pack onnxruntime-web@VERSION` fetches.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Smaller and faster: INT8 weights and activations, if it stays accurate."
        ),
    ] = False,
    max_lost_points: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=100.0,
            help="With --int8: percentage points of validation accuracy that it may lose "
            "(default 0.5).",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="With --int8 and --target tflite: the run's dataset, if it was moved.",
        ),
    ] = None,
    features_outside: Annotated[
        bool,
        typer.Option(
            "--features-outside",
            help="With --target tflite: the model takes features, and C headers are written with "
            "all that computing them needs.",
        ),
    ] = False,
) -> None:
    """Write the best epoch of a run as a model file, checked against PyTorch, or as a web page."""
    options = {
        "web_runtime": web_runtime,
        "int8": int8,
        "max_lost_points": max_lost_points,
        "data": data,
        "features_outside": features_outside,
    }
    check_export_options(target, options, lambda name: f"--{name.replace('_', '-')}")
    if target is Target.WEB:
        _export_site(run, out, web_runtime)
    elif target is Target.TFLITE:
        _export_tflite(run, out, data, max_lost_points, int8=int8, outside=features_outside)
    elif int8:
        _export_int8(run, out, data, max_lost_points)
    else:
        _export_model(run, out)


def _export_model(run: Path, out: Path) -> None:
    from earful.training.runs.run_dataset import read_run_dataset

    _write_model(run, out)
    print_next(("evaluate", out, read_run_dataset(run) or "DATASET"), ("serve", "--model", out))


def _write_model(run: Path, out: Path) -> None:
    from earful.training.api.export import export as export_run

    exported = export_run(run, out)
    _note_unfinished(run, exported.finished)
    echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, "
        f"{len(exported.metadata.labels)} labels"
    )
    echo(f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}")


def _note_unfinished(run: Path, finished: bool) -> None:
    from earful.training.runs.run_dataset import resume_words

    if not finished:
        print_message(f"note: {run} was stopped before its last epoch; continue it with:")
        echo(format_command(resume_words(run)), err=True)


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


def _export_int8(run: Path, out: Path, data: Path | None, max_lost_points: float | None) -> None:
    from earful.training.export.int8 import MAX_LOST_POINTS, export_int8
    from earful.training.runs.run_dataset import read_run_dataset

    limit = MAX_LOST_POINTS if max_lost_points is None else max_lost_points
    exported = export_int8(run, out, data, limit)
    figures = exported.figures
    _note_unfinished(run, exported.finished)
    echo(
        f"{out}: INT8, {figures.size_bytes / 1e6:.2f} MB (float "
        f"{figures.float_size_bytes / 1e6:.2f} MB), {len(exported.metadata.labels)} labels"
    )
    echo(
        f"{figures.latency_ms:.2f} ms a clip on one thread of this machine (float "
        f"{figures.float_latency_ms:.2f} ms)"
    )
    _report_loss(figures.validation)
    if exported.not_kept is not None:
        print_message(f"note: compare and report will not show it: {exported.not_kept}")
    if figures.latency_ms >= figures.float_latency_ms:
        print_message(
            "note: INT8 is no faster here; processors with VNNI gain. For speed, serve the float "
            f"model: {format_command(('export', run, '--out', 'model.onnx'))}"
        )
    dataset = data or read_run_dataset(run) or "DATASET"
    print_next(("evaluate", out, dataset), ("serve", "--model", out))


def _export_tflite(
    run: Path,
    out: Path,
    data: Path | None,
    max_lost_points: float | None,
    *,
    int8: bool,
    outside: bool,
) -> None:
    from earful.training.export.int8 import MAX_LOST_POINTS
    from earful.training.export.tflite.export_tflite import export_tflite

    print_message("converting, which takes up to a minute")
    exported = export_tflite(
        run,
        out,
        int8=int8,
        features_outside=outside,
        dataset=data,
        max_lost_points=MAX_LOST_POINTS if max_lost_points is None else max_lost_points,
    )
    _note_unfinished(run, exported.finished)
    takes = "features" if outside else "a waveform"
    echo(
        f"{out}: TFLite{' INT8' * int8}, {exported.size_bytes / 1e3:.1f} kB, takes {takes}, "
        f"{len(exported.metadata.labels)} labels"
    )
    for header in exported.headers:
        echo(f"{header}: {header.stat().st_size / 1e3:.1f} kB")
    if exported.arena_bytes is None:
        echo("TFLite Micro lacks an operation of it")
    else:
        echo(f"TFLite Micro needs an arena of {exported.arena_bytes / 1e3:.1f} kB beside it")
    counts = sorted(exported.operations.items(), key=lambda item: -item[1])
    echo(f"operations: {', '.join(f'{name} {count}' for name, count in counts)}")
    echo(f"{exported.latency_ms:.2f} ms a clip in LiteRT on one thread of this machine")
    if exported.metadata.quantization is not None:
        _report_loss(exported.metadata.quantization)
    else:
        echo(f"LiteRT and ONNX Runtime agree within {exported.max_difference:.1e}")


def _report_loss(found: "PairedAccuracy | Quantization") -> None:
    echo(
        f"validation accuracy {100 * found.accuracy:.2f} % (float "
        f"{100 * found.float_accuracy:.2f} %) of {found.clips} clips: {found.lost} lost, "
        f"{found.won} won"
    )
