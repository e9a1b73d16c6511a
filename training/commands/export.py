"""``earful export``: a run as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import format_command, print_message, print_next
from earful.service.core.echo import echo


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by `earful train`.")],
    out: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="ONNX file to write.")],
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
            help="With --int8: the run's dataset, if it was moved.",
        ),
    ] = None,
) -> None:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch."""
    if int8:
        _export_int8(run, out, data, max_lost_points)
        return
    if data is not None or max_lost_points is not None:
        raise typer.BadParameter("--data and --max-lost-points need --int8")
    from earful.training.api.export import export as export_run
    from earful.training.runs.run_dataset import read_run_dataset, resume_words

    exported = export_run(run, out)
    if not exported.finished:
        print_message(f"note: {run} was stopped before its last epoch; continue it with:")
        echo(format_command(resume_words(run)), err=True)
    echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, "
        f"{len(exported.metadata.labels)} labels"
    )
    echo(f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}")
    print_next(("evaluate", out, read_run_dataset(run) or "DATASET"), ("serve", "--model", out))


def _export_int8(run: Path, out: Path, data: Path | None, max_lost_points: float | None) -> None:
    from earful.training.export.int8 import MAX_LOST_POINTS, export_int8

    limit = MAX_LOST_POINTS if max_lost_points is None else max_lost_points
    exported = export_int8(run, out, data, limit)
    found = exported.quantization
    echo(
        f"{out}: INT8, {exported.size_bytes / 1e6:.2f} MB (float "
        f"{exported.float_size_bytes / 1e6:.2f} MB), {len(exported.metadata.labels)} labels"
    )
    echo(
        f"{exported.latency_ms:.2f} ms a clip on one thread of this machine (float "
        f"{exported.float_latency_ms:.2f} ms)"
    )
    echo(
        f"validation accuracy {100 * found.accuracy:.2f} % (float "
        f"{100 * found.float_accuracy:.2f} %) of {found.clips} clips: {found.lost} lost, "
        f"{found.won} won"
    )
    if exported.latency_ms >= exported.float_latency_ms:
        print_message(
            "note: INT8 is no faster here; processors with VNNI gain. For speed, serve the float "
            f"model: {format_command(('export', run, '--out', 'model.onnx'))}"
        )
    print_next(("evaluate", out, data or "DATASET"), ("serve", "--model", out))
