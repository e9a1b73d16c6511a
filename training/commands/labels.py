"""Labels of other tools: labels import, labels export, labels merge."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.annotations.choices import ExportFormat, ImportFormat, ConflictRule
from earful.service.commands.options import EXIT_SOME_FAILED
from earful.training.commands.options import AudioDirOption, JsonOption, LabelsArgument

if TYPE_CHECKING:
    from earful.data.annotations.annotation import AnnotationSet

OutCsvOption = Annotated[Path, typer.Option(metavar="LABELS.csv", help="Labels CSV to write.")]
ResolveOption = Annotated[
    ConflictRule, typer.Option(help="Whose label stays where several differ; who lost is told.")
]
SkipOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what cannot be used, and list it.")
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Replace what an earlier run has written to --out.")
]
labels = typer.Typer(
    name="labels", help="Labels from and for Label Studio, Audacity, Raven and folders.",
    no_args_is_help=True,
)  # fmt: skip


@labels.command("import")
def import_labels(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Exports, tracks, tables or folders.")
    ],
    out: OutCsvOption,
    file_format: Annotated[
        ImportFormat | None,
        typer.Option("--format", help="What the sources are; told by their content without it."),
    ] = None,
    audio_dir: Annotated[
        Path | None, typer.Option(help="Folder of the recordings; beside each source without it.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Of file names, such as '{label}_{speaker}_{n}.wav'.")
    ] = None,
    label_column: Annotated[
        list[str] | None,
        typer.Option(help="The column, field or control of the labels, where that is not certain."),
    ] = None,
    resolve: ResolveOption = "latest",
    skip_bad: SkipOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read labels of other tools and write a labels CSV with where each is from."""
    from earful.data.annotations.read_sources import ImportOptions, read_sources
    from earful.data.annotations.summary import raise_on_problems
    from earful.data.annotations.table import require_distinct_output, write_table

    require_distinct_output(out, sources)
    columns = tuple(label_column or ())
    collected = read_sources(sources, ImportOptions(file_format, audio_dir, pattern, columns, resolve))
    raise_on_problems(collected, skip_bad=skip_bad)
    write_table(collected.annotations, out, replace=replace)
    _tell(collected, out, as_json=as_json)


@labels.command("export")
def export(
    labels_csv: LabelsArgument,
    file_format: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    out: Annotated[Path, typer.Option(help="File of Label Studio, or folder of the others.")],
    audio_dir: AudioDirOption = None,
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions", help="To Label Studio: not as given, but for people to confirm."
        ),
    ] = False,
    hard_links: Annotated[
        bool, typer.Option("--hard-links", help="Folders: no copies, but further names.")
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
        raise typer.BadParameter("--predictions goes with --format label-studio")
    if hard_links and file_format != "folders":
        raise typer.BadParameter("--hard-links goes with --format folders")
    require_distinct_output(out, [labels_csv])
    folder = audio_dir or labels_csv.parent
    written = export_labels(
        read_table(labels_csv, audio_dir), file_format, out, folder=folder, replace_out=replace,
        skip_bad=skip_bad, as_predictions=predictions, hard_links=hard_links,
    )  # fmt: skip
    if file_format.startswith("label-studio"):
        written.notes.append(
            f"Label Studio must serve {folder.resolve()} (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT) "
            f"to a project with this configuration:\n{labelling_config(written.annotations)}"
        )
    elif file_format in TRACK_FORMATS:
        base = common_folder(written.annotations)
        written.notes.append(f"to read them back: labels import {out} --audio-dir {base}")
    _tell(written, out, as_json=as_json)


@labels.command("merge")
def merge(
    tables: Annotated[
        list[Path], typer.Argument(metavar="LABELS.csv...", help="Labels CSVs, the oldest first.")
    ],
    out: OutCsvOption,
    audio_dir: AudioDirOption = None,
    resolve: ResolveOption = "latest",
    skip_bad: SkipOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put labels CSVs together: recordings that sound the same become one row."""
    from earful.data.annotations.merge import merge_tables
    from earful.data.annotations.summary import raise_on_problems
    from earful.data.annotations.table import require_distinct_output, write_table
    from earful.training.runs.progress import work_progress

    require_distinct_output(out, tables)
    with work_progress("listen") as on_progress:
        collected = merge_tables(tables, audio_dir, resolve, on_progress)
    raise_on_problems(collected, skip_bad=skip_bad)
    write_table(collected.annotations, out, replace=replace)
    _tell(collected, out, as_json=as_json)


def _tell(collected: "AnnotationSet", out: Path, *, as_json: bool) -> None:
    """What was written and what was not; exit code 1 where something was left out."""
    from earful.data.annotations.summary import format_summary, summary_dict

    if as_json:
        typer.echo(json.dumps(summary_dict(collected), indent=2))
    else:
        typer.echo(format_summary(collected), err=True)
    typer.echo(f"{out}: {len(collected.annotations)} labels", err=True)
    if collected.problems:
        raise typer.Exit(EXIT_SOME_FAILED)
