"""``earful export``: a run as one ONNX file, as a site for browsers, or for small devices."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.service.commands.next_steps import format_command, print_message, print_next
from earful.service.core.echo import echo
from earful.training.export.export_options import ExportOptions, Target

if TYPE_CHECKING:
    from earful.training.export.export import ExportResult
    from earful.training.export.int8 import Int8Export
    from earful.training.export.tflite.export_tflite import TfliteExport
    from earful.training.export.web_site import SiteResult
    from earful.training.metrics.paired_accuracy import PairedAccuracy


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
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="With --target tflite, for tcresnet-causal: the model takes one frame of features "
            "and a state, and gives scores and the next state.",
        ),
    ] = False,
) -> None:
    """Write the best epoch of a run as a model file, checked against PyTorch, or as a web page."""
    options = ExportOptions(web_runtime, int8, max_lost_points, data, features_outside, stream)
    options.check(target, lambda name: f"--{name.replace('_', '-')}")
    from earful.training.api.export import write_export
    from earful.training.export.export import ExportResult
    from earful.training.export.int8 import Int8Export
    from earful.training.export.web_site import SiteResult
    from earful.training.runs.run_dataset import read_run_dataset, resume_words

    if target is Target.TFLITE:
        print_message("converting, which takes up to a minute")
    exported = write_export(run, out, target, options)
    model = exported.exported if isinstance(exported, SiteResult) else exported
    if model is not None and not model.finished:
        print_message(f"note: {run} was stopped before its last epoch; continue it with:")
        echo(format_command(resume_words(run)), err=True)
    if isinstance(exported, SiteResult):
        _report_site(exported)
    elif isinstance(exported, ExportResult):
        _report_model(exported, str(out))
    elif isinstance(exported, Int8Export):
        _report_int8(run, out, exported)
    else:
        _report_tflite(out, options, exported)
    if isinstance(exported, ExportResult | Int8Export):
        dataset = options.data or read_run_dataset(run) or "DATASET"
        print_next(("evaluate", out, dataset), ("serve", "--model", out))


def _report_model(exported: "ExportResult", name: str) -> None:
    echo(f"{name}: {exported.size_bytes / 1e6:.2f} MB, {len(exported.metadata.labels)} labels")
    echo(f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}")


def _report_site(site: "SiteResult") -> None:
    if site.exported is not None:
        _report_model(site.exported, "model")
    echo(f"{site.path}: {site.size_bytes / 1e6:.1f} MB, {site.n_labels} labels")
    print_message("put the folder on any web server; to try it here:")
    echo(
        f"  python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(site.path))}",
        err=True,
    )


def _report_int8(run: Path, out: Path, exported: "Int8Export") -> None:
    figures = exported.figures
    echo(
        f"{out}: INT8, {figures.size_bytes / 1e6:.2f} MB (float "
        f"{figures.float_size_bytes / 1e6:.2f} MB), {len(exported.metadata.labels)} labels"
    )
    echo(
        f"{figures.latency_ms:.2f} ms a clip on one thread of this machine (float "
        f"{figures.float_latency_ms:.2f} ms)"
    )
    _report_accuracy(figures.validation)
    if exported.figures_error is not None:
        print_message(f"note: the report will not show it: {exported.figures_error}")
    if figures.latency_ms >= figures.float_latency_ms:
        print_message(
            "note: INT8 is no faster here; networks of many convolutions gain, on processors with "
            "VNNI. For speed, serve the float "
            f"model: {format_command(('export', run, '--out', 'model.onnx'))}"
        )


def _report_tflite(out: Path, options: ExportOptions, exported: "TfliteExport") -> None:
    echo(
        f"{out}: TFLite{' INT8' * options.int8}, {exported.size_bytes / 1e3:.1f} kB, takes "
        f"{_input_in_words(options)}, "
        f"{len(exported.metadata.labels)} labels"
    )
    for header in exported.headers:
        echo(f"{header}: {header.stat().st_size / 1e3:.1f} kB")
    if isinstance(exported.arena_bytes, str):
        echo(f"TFLite Micro cannot run it: {exported.arena_bytes}")
    else:
        echo(f"TFLite Micro needs an arena of {exported.arena_bytes / 1e3:.1f} kB beside it")
    counts = sorted(exported.operations.items(), key=lambda item: -item[1])
    echo(f"operations: {', '.join(f'{name} {count}' for name, count in counts)}")
    unit = "frame" if options.stream else "clip"
    echo(f"{exported.latency_ms:.2f} ms a {unit} in LiteRT on one thread of this machine")
    _report_accuracy(exported.accuracy)
    if exported.micro_accuracy is not None:
        _report_accuracy(exported.micro_accuracy, "in TFLite Micro: ")
    if not options.int8:
        echo(f"LiteRT and ONNX Runtime agree within {exported.max_difference:.1e}")


def _input_in_words(options: ExportOptions) -> str:
    if options.stream:
        return "one frame of features and a state"
    return "features" if options.features_outside else "a waveform"


def _report_accuracy(found: "PairedAccuracy", where: str = "") -> None:
    echo(
        f"{where}validation accuracy {100 * found.accuracy:.2f} % (float "
        f"{100 * found.float_accuracy:.2f} %) of {found.clips} clips: {found.lost} lost, "
        f"{found.won} won"
    )
