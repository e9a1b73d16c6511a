"""What ``earful train`` prints of a run, and how to continue one that ended early."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from earful.data.atomic_write import OutputError
from earful.service.commands.next_steps import format_command, interrupted, print_next
from earful.service.core.echo import echo

if TYPE_CHECKING:
    from earful.training.api.train import TrainResult
    from earful.training.runs.metrics_file import PartMetrics, RunMetrics


@contextmanager
def resumable(run: Path, resume_command: Sequence[object]) -> Iterator[None]:
    """On Ctrl-C, a full disk or a full memory: how to continue, if an epoch was finished."""
    from earful.training.trainer.checkpoint import LAST_CHECKPOINT

    try:
        yield
    except KeyboardInterrupt as error:
        if (run / LAST_CHECKPOINT).is_file():
            raise interrupted(f"{run} keeps all finished epochs", resume_command) from error
        raise interrupted("no epoch was finished, so nothing is kept") from error
    except (OutputError, OSError, MemoryError):
        if (run / LAST_CHECKPOINT).is_file():
            echo(f"{run} keeps all finished epochs; once there is room, continue with:", err=True)
            echo(format_command(resume_command), err=True)
        raise


def print_run(result: "TrainResult", resume_command: Sequence[object]) -> None:
    """Print a finished run and the next commands: more epochs, if they may help.

    Of several processes the first prints them.
    """
    if result.figures is None:
        return
    if result.contest is not None:
        echo(result.contest.table())
        echo(result.contest.reason())
    for line in run_summary(result.figures, result.run):
        echo(line)
    sys.stdout.flush()
    if result.still_improving and result.epochs > 1:
        _print_more_epochs(result, resume_command)
    if result.accuracy is None:
        print_next(("map", result.dataset, "--run", result.run))
    else:
        print_next(("export", result.run, "--out", "model.onnx"), ("report", result.run))


def _print_more_epochs(result: "TrainResult", resume_command: Sequence[object]) -> None:
    from earful.training.config.train_config import LENGTH_DEPENDENT_SCHEDULES

    more = 2 * result.epochs
    if result.config.schedule in LENGTH_DEPENDENT_SCHEDULES:
        echo(f"the last epoch is the best: a new run with --epochs {more} may be better", err=True)
        return
    echo("still improving at the last epoch; more epochs may help:", err=True)
    echo(format_command([*resume_command, "--epochs", more]), err=True)


def run_summary(figures: "RunMetrics", run: Path) -> list[str]:
    """Network, best epoch and quality of a run, a line each of at most 80 columns."""
    part = figures.test_or_validation
    return [
        f"{run}: {figures.model} on {figures.features}, {figures.parameters:,} parameters",
        f"best epoch {figures.best_epoch} of {figures.epochs}, "
        f"{figures.training_seconds:.0f} s on {figures.device}",
        f"{'test' if figures.test else 'validation'} {_format_quality(part)}, {part.clips} clips, "
        f"{figures.split_mode} split",
    ]


def _format_quality(part: "PartMetrics") -> str:
    from earful.training.runs.metrics_file import ReconstructionMetrics

    if isinstance(part, ReconstructionMetrics):
        return (
            f"reconstruction error {part.reconstruction_error:.4f} "
            f"({100 * part.explained_variance:.1f} % of the variance explained)"
        )
    low, high = (100 * bound for bound in part.accuracy_ci95)
    return f"accuracy {100 * part.accuracy:.2f} % ({low:.1f} to {high:.1f})"
