"""``earful check``: what is wrong with a set of labelled clips."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.options import (
    EXIT_SOME_FAILED,
)
from earful.training.commands.options import AudioDirOption, JsonOption, LabelsArgument


def check(
    labels_csv: LabelsArgument,
    audio_dir: AudioDirOption = None,
    wrong_labels: Annotated[
        bool,
        typer.Option(
            "--wrong-labels/--no-wrong-labels",
            help="Ask of each clip whether it sounds like its label; the longest part.",
        ),
    ] = True,
    as_json: JsonOption = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="REPORT.html", help="One page to look at and listen to."),
    ] = None,
    clips: Annotated[
        int, typer.Option(min=0, max=500, help="How many clips of each kind --html plays.")
    ] = 24,
    suggestions: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Labels that may be corrected, to be reviewed."),
    ] = None,
) -> None:
    """Examine a CSV and all its files: what is broken, doubtful, repeated or likely mislabelled."""
    from earful.training.data_quality.run_checks import diagnose, hear
    from earful.training.data_quality.text_report import check_outputs, text, write_suggestions
    from earful.training.runs.progress import work_progress

    check_outputs(labels_csv, html=html, suggestions=suggestions)
    with work_progress("check") as on_progress:
        heard = hear(labels_csv, audio_dir, on_progress)
    with work_progress("compare") as on_progress:
        diagnosis = diagnose(heard, wrong_labels=wrong_labels, progress=on_progress)
    if html is not None:
        from earful.training.data_quality.html_report import write_page

        write_page(diagnosis, labels_csv, html, clips=clips)
        typer.echo(f"report in {html}", err=True)
    if suggestions is not None:
        rows = write_suggestions(diagnosis, suggestions)
        typer.echo(f"{suggestions}: {rows} labels to review", err=True)
    found = diagnosis.to_dict()
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else text(diagnosis))
    if diagnosis.needs_attention:
        raise typer.Exit(EXIT_SOME_FAILED)
