"""``earful export``: a run as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import format_command, print_message, print_next
from earful.service.core.echo import echo


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by `earful train`.")],
    out: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="ONNX file to write.")],
) -> None:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch."""
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
