"""``earful export``: a run as one ONNX file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import print_message, print_next


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by `earful train`.")],
    out: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="ONNX file to write.")],
) -> None:
    """Write the best epoch of a run as one ONNX file, checked against PyTorch."""
    from earful.training.api.export import export as export_run

    exported = export_run(run, out)
    dataset = _dataset_of(run)
    if not exported.finished:
        print_message(f"note: {run} was stopped before its last epoch; continue it with:")
        typer.echo(f"  earful train {dataset} --out {run} --resume", err=True)
    typer.echo(
        f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, "
        f"{len(exported.metadata.labels)} labels"
    )
    typer.echo(f"ONNX Runtime and PyTorch agree within {exported.max_difference:.1e}")
    print_next(("evaluate", out, dataset), ("serve", "--model", out))


def _dataset_of(run: Path) -> str:
    """The dataset that a run was trained on, or a placeholder while the run has no metrics."""
    from earful.training.trainer.checkpoint import METRICS_FILENAME

    try:
        dataset = Path(json.loads((run / METRICS_FILENAME).read_text("utf-8"))["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        return "DATASET"
    here = Path.cwd()
    return str(dataset.relative_to(here) if dataset.is_relative_to(here) else dataset)
