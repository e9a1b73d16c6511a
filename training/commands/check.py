"""``earful check``: errors and warnings in a set of labelled clips."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.service.commands.next_steps import print_message, print_next
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    LabelSeparatorOption,
    NoEscapeOption,
    csv_flags,
    csv_options,
    flags_of,
)
from earful.service.core.echo import echo
from earful.training.commands.options import (
    AudioDirOption,
    JsonOption,
    LabelsOrFolderArgument,
    PatternOption,
)


def check(
    labels: LabelsOrFolderArgument,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    pattern: PatternOption = None,
    wrong_labels: Annotated[
        bool,
        typer.Option(
            "--wrong-labels/--no-wrong-labels",
            help="Look for likely label errors, the slowest check.",
        ),
    ] = True,
    as_json: JsonOption = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="REPORT.html", help="HTML page with players to write."),
    ] = None,
    clips: Annotated[
        int, typer.Option(min=0, max=500, help="Clips per kind of finding on the page.")
    ] = 24,
    suggestions: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="CSV of suggested corrections to write."),
    ] = None,
    no_escape: NoEscapeOption = False,
) -> None:
    """Check labels and their files for broken, duplicate, leaking and mislabelled clips."""
    from earful.data.datasets.read_labelled import read_labelled_clips
    from earful.training.data_quality.measure_dataset import measure_dataset
    from earful.training.data_quality.run_checks import run_checks
    from earful.training.data_quality.text_report import (
        check_outputs,
        format_report,
        write_suggestions,
    )
    from earful.training.runs.progress import work_progress

    options = csv_options(audio_dir, columns, label_separator)
    check_outputs(labels, html=html, suggestions=suggestions)
    labelled = read_labelled_clips(labels, options, pattern or "")
    with work_progress("check") as on_progress:
        measured = measure_dataset(labelled, on_progress, encode=wrong_labels)
    if measured.encoder_missing:
        print_message(measured.encoder_missing)
    with work_progress("label errors") as on_progress:
        quality = run_checks(measured, wrong_labels=wrong_labels, progress=on_progress)
    if html is not None:
        from earful.training.data_quality.html_report import write_quality_page

        write_quality_page(quality, labels, html, clips=clips)
        echo(f"report in {html}", err=True)
    if suggestions is not None:
        n_suggestions = write_suggestions(quality, suggestions, mark=not no_escape)
        echo(f"{suggestions}: {n_suggestions} labels to review", err=True)
    result = quality.to_dict()
    echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else format_report(quality))
    flags = (*csv_flags(options), *flags_of({"pattern": pattern}))
    print_next(("prepare", labels, *flags, "--out", "DATASET"))
    if quality.needs_attention:
        raise typer.Exit(EXIT_SOME_FAILED)
