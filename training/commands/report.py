"""``earful report``: a run, or results, as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError


def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|RESULTS",
            help="Folder of `earful train`, or what `earful classify --out` wrote.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file to write; RUN/report.html, or RESULTS with .html, without."),
    ] = None,
    clips: Annotated[
        int, typer.Option(min=0, max=500, help="How many clips of each kind can be heard.")
    ] = 24,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Of a run: what it was trained on, if it has moved."),
    ] = None,
    noise_test: Annotated[
        bool, typer.Option("--noise-test/--no-noise", help="Of a run: try it in noise, for seconds.")
    ] = True,
    audio_mb: Annotated[
        float, typer.Option(min=0, help="Of a run: so many megabytes of sound and pictures.")
    ] = 8.0,
    audio_dir: Annotated[
        Path | None,
        typer.Option(help="Of results: folder of relative names; the working folder without it."),
    ] = None,
) -> None:
    """Look at a run, or at results, as one HTML file that needs no other and no network.

    A run: curves, layers, confusions, speakers, worst clips, calibration, noise. Results: counts,
    scores, doubtful clips and what failed.
    """
    from earful.training.reports.run_report.page import PAGE, Wanted, write_run_report
    from earful.training.reports.run_report.read_run import is_run

    if not path.exists():
        raise EarfulError(
            f"there is no {path}; give the folder of a run (`earful train --out`) or a file of "
            "results (`earful classify --out`)"
        )
    if is_run(path):
        from earful.training.runs.progress import work_progress

        if audio_dir is not None:
            raise typer.BadParameter("--audio-dir is for results; a run has --dataset")
        place = out or path / PAGE
        with work_progress("noise") as on_progress:
            wanted = Wanted(dataset, clips, round(audio_mb * 1e6), noise_test, on_progress)
            for note in write_run_report(path, place, wanted):
                typer.echo(f"note: {note}", err=True)
        typer.echo(f"{place}: {place.stat().st_size / 1e6:.1f} MB", err=True)
        return
    if path.is_dir():
        raise EarfulError(
            f"{path} is no run of `earful train` (it has no best.pt), and results of `earful "
            "classify` are a file"
        )
    if dataset is not None:
        raise typer.BadParameter("--dataset is for a run; results have --audio-dir")
    _report_results(path, out or path.with_suffix(".html"), clips, audio_dir)


def _report_results(results: Path, out: Path, clips: int, audio_dir: Path | None) -> None:
    from earful.training.reports.results_report import write_results_report

    found = write_results_report(results, out, clips=clips, audio_dir=audio_dir)
    typer.echo(f"{out}: {found.rows:,} rows of {found.files:,} files", err=True)
