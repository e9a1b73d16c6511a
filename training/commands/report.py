"""``earful report``: a run, or results of classify, as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError, UsageError, command, did_you_mean_path
from earful.service.commands.next_steps import keep_on_interrupt, print_message
from earful.service.core.echo import echo

_ACCEPTED = (
    "give the folder of a run (`earful train --out`) or a file of results (`earful classify --out`)"
)


def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|RESULTS",
            help="Run folder of `earful train`, or results of `earful classify --out`.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="HTML file to write. (default: RUN/report.html, or RESULTS with .html)",
        ),
    ] = None,
    clips: Annotated[int, typer.Option(min=0, max=500, help="Clips per kind with a player.")] = 24,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Run: its dataset, if it was moved."),
    ] = None,
    noise_test: Annotated[
        bool,
        typer.Option(
            "--noise-test/--no-noise-test", help="Run: measure it in noise, for some seconds."
        ),
    ] = True,
    audio_mb: Annotated[
        float, typer.Option(min=0, help="Run: most megabytes of audio and pictures.")
    ] = 8.0,
    audio_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Results: folder of relative file names. (default: the working folder)",
        ),
    ] = None,
) -> None:
    """Write a run, or results of classify, as one HTML file that works offline.

    Run: learning curves, layers, confusions, speakers, calibration, noise, where the network
    listened, filters, worst clips. Results: events an hour over time, and to hear; counts, scores,
    clips of low confidence, failures.
    """
    from earful.training.reports.run_report.page import (
        RUN_REPORT_FILENAME,
        RunReportOptions,
        write_run_report,
    )
    from earful.training.reports.run_report.read_run import is_run

    if not path.exists():
        raise EarfulError(f"there is no {path}{did_you_mean_path(path)}; {_ACCEPTED}")
    _refuse_evaluation(path)
    if is_run(path):
        from earful.training.runs.progress import work_progress

        if audio_dir is not None:
            raise UsageError("--audio-dir is for results; a run has --dataset")
        html_out = out or path / RUN_REPORT_FILENAME
        with keep_on_interrupt("nothing was written"), work_progress("noise") as on_progress:
            options = RunReportOptions(
                dataset, clips, round(audio_mb * 1e6), noise_test, on_progress
            )
            for note in write_run_report(path, html_out, options):
                print_message(f"note: {note}")
        echo(f"{html_out}: {html_out.stat().st_size / 1e6:.1f} MB; open it in a browser", err=True)
        return
    _refuse_other(path)
    if dataset is not None:
        raise UsageError("--dataset is for a run; results have --audio-dir")
    _report_results(path, out or path.with_suffix(".html"), clips, audio_dir)


def _refuse_evaluation(path: Path) -> None:
    """Say where to look in a folder of `earful evaluate --out`, which is a report itself."""
    from earful.training.evaluation.evaluator import REPORT

    folder = path.parent if path.name == REPORT else path
    if (folder / REPORT).is_file():
        plots = ", ".join(sorted(plot.name for plot in folder.glob("*.png")))
        raise EarfulError(
            f"{folder} is a report of `earful evaluate` already: open {plots or REPORT} in it; for "
            "a page with clips, `earful report RUN` or `earful report RESULTS`"
        )


def _refuse_other(path: Path) -> None:
    """Refuse what is neither a run nor a file that may hold results, by what it is."""
    from earful.data.labels.wrong_path import describe_own_folder, describe_wrong_path
    from earful.service.batch.formats import FILE_SUFFIXES
    from earful.training.reports.run_report.read_run import is_run

    if path.is_dir():
        found = describe_own_folder(path) or f"{path} holds no checkpoint of a run"
        raise EarfulError(f"{found}; {_ACCEPTED}")
    if path.suffix.lower() in FILE_SUFFIXES:
        return
    if is_run(path.parent):
        raise EarfulError(
            f"{path} is a file of a run; give its folder: {command('report', path.parent)}"
        )
    is_json = path.suffix == ".json" and path.name != "dataset.json"
    found = "" if is_json else describe_wrong_path(path)
    raise EarfulError(f"{found or f'{path} is another file'}; {_ACCEPTED}")


def _report_results(results: Path, out: Path, clips: int, audio_dir: Path | None) -> None:
    from earful.training.reports.results_report import write_results_report

    with keep_on_interrupt("nothing was written"):
        summary = write_results_report(results, out, clips=clips, audio_dir=audio_dir)
    echo(f"{out}: {summary.rows:,} rows of {summary.files:,} files; open it in a browser", err=True)
