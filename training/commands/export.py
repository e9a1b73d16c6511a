"""``earful export``: a run as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by train.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
) -> None:
    """Write a run's best epoch as one ONNX file, checked against PyTorch."""
    from earful.training.export.export import export as export_run

    exported = export_run(run, out)
    if not exported.finished:
        typer.echo(
            f"note: {run} was stopped before its end; it goes on with "
            f"`earful train DATASET --out {run} --resume`",
            err=True,
        )
    typer.echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, {len(exported.metadata.labels)} labels, "
        f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}"
    )
