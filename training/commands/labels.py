"""Labels of other tools: labels import, labels export, labels merge."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.annotations.choices import ExportFormat, ImportFormat, Rule
from earful.service.commands.options import EXIT_SOME_FAILED
from earful.training.commands.options import AudioDirOption, JsonOption, LabelsArgument

if TYPE_CHECKING:
    from earful.data.annotations.annotation import Found

OutCsvOption = Annotated[Path, typer.Option(metavar="LABELS.csv", help="Labels CSV to write.")]
ResolveOption = Annotated[
    Rule, typer.Option(help="Whose label stays where several differ; who lost is told.")
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
    form: Annotated[
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
    from earful.data.annotations.read_sources import Reading, read_sources
    from earful.data.annotations.summary import refuse_problems
    from earful.data.annotations.table import refuse_sources, write_table

    refuse_sources(out, sources)
    columns = tuple(label_column or ())
    found = read_sources(sources, Reading(form, audio_dir, pattern, columns, resolve))
    refuse_problems(found, skip_bad=skip_bad)
    write_table(found.annotations, out, replace=replace)
    _tell(found, out, as_json=as_json)


@labels.command("export")
def export(
    labels_csv: LabelsArgument,
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
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
    from earful.data.annotations.export import TRACKS, common_folder, export_labels
    from earful.data.annotations.label_studio_export import labelling_config
    from earful.data.annotations.table import read_table, refuse_sources

    if predictions and form != "label-studio":
        raise typer.BadParameter("--predictions goes with --format label-studio")
    if hard_links and form != "folders":
        raise typer.BadParameter("--hard-links goes with --format folders")
    refuse_sources(out, [labels_csv])
    folder = audio_dir or labels_csv.parent
    written = export_labels(
        read_table(labels_csv, audio_dir), form, out, folder=folder, replace_out=replace,
        skip_bad=skip_bad, as_predictions=predictions, hard_links=hard_links,
    )  # fmt: skip
    if form.startswith("label-studio"):
        written.notes.append(
            f"Label Studio must serve {folder.resolve()} (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT) "
            f"to a project with this configuration:\n{labelling_config(written.annotations)}"
        )
    elif form in TRACKS:
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
    from earful.data.annotations.summary import refuse_problems
    from earful.data.annotations.table import refuse_sources, write_table
    from earful.training.runs.progress import work_progress

    refuse_sources(out, tables)
    with work_progress("listen") as on_progress:
        found = merge_tables(tables, audio_dir, resolve, on_progress)
    refuse_problems(found, skip_bad=skip_bad)
    write_table(found.annotations, out, replace=replace)
    _tell(found, out, as_json=as_json)


def _tell(found: "Found", out: Path, *, as_json: bool) -> None:
    """What was written and what was not; exit code 1 where something was left out."""
    from earful.data.annotations.summary import summary, told

    if as_json:
        typer.echo(json.dumps(told(found), indent=2))
    else:
        typer.echo(summary(found), err=True)
    typer.echo(f"{out}: {len(found.annotations)} labels", err=True)
    if found.problems:
        raise typer.Exit(EXIT_SOME_FAILED)
