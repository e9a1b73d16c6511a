"""Commands that look at data through networks: map."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.training.commands.options import DeviceOption, JsonOption


def map_clips(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("map.html"),
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="ONNX file whose embedding is shown.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run of train, of the autoencoder or a classifier."),
    ] = None,
    by: Annotated[
        Literal["autoencoder", "classifier"] | None,
        typer.Option(help="Only this embedding; both without it, where there are both."),
    ] = None,
    colour: Annotated[
        Literal["label", "speaker", "split", "error"],
        typer.Option(help="What the points are coloured by at first."),
    ] = "label",
    reduce: Annotated[
        Literal["tsne", "pca"], typer.Option(help="How the embedding is laid out in 2-D.")
    ] = "tsne",
    most: Annotated[
        int, typer.Option(min=3, max=100_000, help="Clips on the map; a sample of more.")
    ] = 10_000,
    audio_mb: Annotated[
        float, typer.Option(min=0, max=2000, help="Sound to put into the page, in MB.")
    ] = 32.0,
    audio_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of relative file names, to link what does not fit in."),
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="CSV of coordinates and outlier scores to write.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of all that is drawn.")] = 42,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw a map of a dataset: clusters, outliers and wrong labels, to look at and to hear.

    An autoencoder is trained on the clips for a few epochs and kept beside the map; a classifier
    comes from --model or --run, or is the shipped digit model where that fits.
    """
    from earful.data.dataset.dataset import open_dataset
    from earful.training.explore.clip_map import draw_map, write_points
    from earful.training.explore.embedding_sources import Sources
    from earful.training.explore.embeddings import epochs_on_the_spot
    from earful.training.explore.map_page import check_places, lines, write_page
    from earful.training.reports.clip_media import Sound
    from earful.training.runs.progress import TrainingProgress, work_progress

    opened = open_dataset(dataset)
    check_places(out, points, audio_dir)
    sources = Sources(
        out.with_suffix(".autoencoder"), model, run, only=by, needs_answers=colour == "error"
    )
    epochs = epochs_on_the_spot(len(opened.clips))
    with work_progress("autoencoder") as on_progress:
        found = draw_map(
            opened, sources, reduction=reduce, most=most, seed=seed, device=device,
            progress=TrainingProgress(on_epoch=lambda record: on_progress(record.epoch, epochs)),
        )  # fmt: skip
    written = write_page(found, out, colour, Sound(round(audio_mb * 1e6), audio_dir))
    if points is not None:
        write_points(found, points)
    for note in filter(None, [*found.notes, written.note()]):
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    typer.echo(f"{out}: {len(found.shown):,} clips, {written.bytes / 1e6:.1f} MB")
    for line in lines(found):
        typer.echo(line)
