"""``earful labels``: labels from and for other tools."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.annotations.choices import ConflictRule, ExportFormat, ImportFormat
from earful.data.errors import UsageError
from earful.service.commands.next_steps import print_next
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    LabelSeparatorOption,
    NoEscapeOption,
    csv_options,
    flags_of,
)
from earful.service.core.echo import echo
from earful.training.commands.options import (
    AudioDirOption,
    JsonOption,
    LabelsArgument,
    ReplaceOption,
)

if TYPE_CHECKING:
    from earful.data.annotations.annotation import AnnotationSet

OutCsvOption = Annotated[Path, typer.Option(metavar="LABELS.csv", help="Labels CSV to write.")]
ResolveOption = Annotated[
    ConflictRule, typer.Option(help="Which label is kept if several differ; the others are listed.")
]
SkipOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out labels that cannot be used, and list them.")
]
labels = typer.Typer(
    name="labels",
    help="Import and export labels of Label Studio, Audacity, Raven and folders.",
    no_args_is_help=True,
)


@labels.command("import")
def import_labels(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Exports, tracks, tables or folders.")
    ],
    out: OutCsvOption,
    file_format: Annotated[
        ImportFormat | None,
        typer.Option("--format", help="Format of the sources. (default: by their content)"),
    ] = None,
    audio_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the recordings. (default: beside each source)"),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Pattern of file names, such as '{label}_{speaker}_{n}.wav'.")
    ] = None,
    label_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column, field or control of the labels, if there are several. Repeatable."
        ),
    ] = None,
    resolve: ResolveOption = "latest",
    skip_bad: SkipOption = False,
    replace: ReplaceOption = False,
    no_escape: NoEscapeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read labels of other tools and write a labels CSV that names their sources."""
    from earful.data.annotations.read_sources import ImportOptions, read_sources
    from earful.data.annotations.summary import raise_on_problems
    from earful.data.annotations.table import require_distinct_output, write_table
    from earful.data.datasets.read_labelled import read_known_annotations

    require_distinct_output(out, sources)
    columns = tuple(label_column or ())
    collected = read_sources(
        sources,
        ImportOptions(file_format, audio_dir, pattern, columns, resolve, read_known_annotations),
    )
    raise_on_problems(collected, skip_bad=skip_bad)
    write_table(collected.annotations, out, replace=replace, mark=not no_escape)
    _print_result(collected, out, as_json=as_json, next_command=("check", out))


@labels.command("export")
def export(
    labels_csv: LabelsArgument,
    file_format: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")],
    out: Annotated[Path, typer.Option(help="File for Label Studio, folder for the others.")],
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions", help="Label Studio: write labels as predictions for people to confirm."
        ),
    ] = False,
    hard_links: Annotated[
        bool, typer.Option("--hard-links", help="Folders: hard links instead of copies.")
    ] = False,
    skip_bad: SkipOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the rows of a labels CSV for another tool."""
    from earful.data.annotations.export import TRACK_FORMATS, common_folder, export_labels
    from earful.data.annotations.label_studio_export import labelling_config
    from earful.data.annotations.table import read_table, require_distinct_output

    if predictions and file_format != "label-studio":
        raise UsageError("--predictions goes with --format label-studio")
    if hard_links and file_format != "folders":
        raise UsageError("--hard-links goes with --format folders")
    require_distinct_output(out, [labels_csv])
    folder = audio_dir or labels_csv.parent
    reimported, recordings = str(out), None
    written = export_labels(
        read_table(labels_csv, csv_options(audio_dir, columns, label_separator)),
        file_format,
        out,
        folder=folder,
        replace_out=replace,
        skip_bad=skip_bad,
        as_predictions=predictions,
        hard_links=hard_links,
    )
    if file_format.startswith("label-studio"):
        reimported, recordings = "EXPORT.json", folder
        written.notes.append(
            f"Label Studio must serve {folder.resolve()} (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT) "
            f"to a project with this configuration:\n{labelling_config(written.annotations)}"
        )
    elif file_format in TRACK_FORMATS:
        recordings = common_folder(written.annotations)
    flags = flags_of({"audio_dir": recordings, "out": "LABELS.csv"})
    _print_result(
        written, out, as_json=as_json, next_command=("labels", "import", reimported, *flags)
    )


@labels.command("merge")
def merge(
    tables: Annotated[
        list[Path], typer.Argument(metavar="LABELS.csv...", help="Labels CSVs, the oldest first.")
    ],
    out: OutCsvOption,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    resolve: ResolveOption = "latest",
    skip_bad: SkipOption = False,
    replace: ReplaceOption = False,
    no_escape: NoEscapeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge labels CSVs; recordings of the same audio become one row."""
    from earful.data.annotations.merge import merge_tables
    from earful.data.annotations.summary import raise_on_problems
    from earful.data.annotations.table import require_distinct_output, write_table
    from earful.training.runs.progress import work_progress

    options = csv_options(audio_dir, columns, label_separator)
    require_distinct_output(out, tables)
    with work_progress("listen") as on_progress:
        collected = merge_tables(tables, options, resolve, on_progress)
    raise_on_problems(collected, skip_bad=skip_bad)
    write_table(collected.annotations, out, replace=replace, mark=not no_escape)
    _print_result(collected, out, as_json=as_json, next_command=("check", out))


def _print_result(
    collected: "AnnotationSet", out: Path, *, as_json: bool, next_command: tuple[object, ...]
) -> None:
    """Print what was written and left out; exit with 1 if something was left out."""
    from earful.data.annotations.summary import format_summary, summary_dict

    if as_json:
        echo(json.dumps(summary_dict(collected), indent=2))
    else:
        echo(format_summary(collected), err=True)
    echo(f"{out}: {len(collected.annotations)} labels", err=True)
    print_next(next_command)
    if collected.problems:
        raise typer.Exit(EXIT_SOME_FAILED)
