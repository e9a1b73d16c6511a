"""``earful map``: the clips of a dataset on a map, by a network's embedding."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.service.commands.next_steps import print_message
from earful.service.commands.options import NoEscapeOption
from earful.service.core.echo import echo
from earful.training.commands.options import DatasetArgument, DeviceOption, JsonOption


def map_clips(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="HTML file to write.")] = Path(
        "map.html"
    ),
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="ONNX file whose embedding is used.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run whose embedding is used."),
    ] = None,
    embedding: Annotated[
        Literal["encoder", "autoencoder", "classifier"] | None,
        typer.Option(help="Show only this embedding. (default: encoder and classifier)"),
    ] = None,
    color_by: Annotated[
        Literal["label", "speaker", "split", "error"],
        typer.Option(help="Color of the points at first."),
    ] = "label",
    reduce: Annotated[
        Literal["tsne", "pca"], typer.Option(help="Projection of the embedding to 2-D.")
    ] = "tsne",
    max_clips: Annotated[
        int, typer.Option(min=3, max=100_000, help="Most clips on the map; of more a sample.")
    ] = 10_000,
    audio_mb: Annotated[
        float, typer.Option(min=0, max=2000, help="Most megabytes of audio in the page.")
    ] = 32.0,
    audio_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of relative file names, to link other audio."),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="CSV of coordinates and outlier scores to write."),
    ] = None,
    no_escape: NoEscapeOption = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of sample, autoencoder and projection.")
    ] = 42,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw the clips of a dataset on a map: clusters, outliers and likely label errors.

    The speech encoder places clips by their sound; clips below 7,600 Hz are placed by an
    autoencoder, which is trained on them and kept beside the map. A classifier comes from --model
    or --run, or is the shipped digit model if the labels are its own.
    """
    from earful.data.dataset.dataset import open_dataset
    from earful.training.explore.clip_map import build_map, write_points_csv
    from earful.training.explore.embedding_sources import EmbeddingSources
    from earful.training.explore.map_page import check_map_outputs, summary_lines, write_map_page
    from earful.training.reports.clip_media import MapAudioOptions
    from earful.training.runs.progress import work_progress

    opened = open_dataset(dataset)
    check_map_outputs(out, points, audio_dir)
    sources = EmbeddingSources(
        out.with_suffix(".autoencoder"),
        model,
        run,
        only=embedding,
        needs_predictions=color_by == "error",
    )
    with work_progress("embedding") as on_progress:
        clip_map = build_map(
            opened,
            sources,
            reduction=reduce,
            max_clips=max_clips,
            seed=seed,
            device=device,
            on_progress=on_progress,
        )
    stats = write_map_page(
        clip_map, out, color_by, MapAudioOptions(round(audio_mb * 1e6), audio_dir)
    )
    if points is not None:
        write_points_csv(clip_map, points, mark=not no_escape)
    for note in filter(None, [*clip_map.notes, stats.audio_note()]):
        print_message(f"note: {note}")
    if as_json:
        echo(json.dumps(clip_map.to_dict(), ensure_ascii=False))
        return
    echo(f"{out}: {len(clip_map.shown):,} clips, {stats.size_bytes / 1e6:.1f} MB")
    echo("open it in a browser", err=True)
    for line in summary_lines(clip_map):
        echo(line)
