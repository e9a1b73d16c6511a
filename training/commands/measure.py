"""Commands that look at answers and runs: evaluate, report."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful.data.errors import EarfulError
from earful.models.registry.catalogue import DEFAULT_ROOT
from earful.service.cli import EXIT_SOME_FAILED, RegistryOption
from earful.training.commands.options import AudioDirOption, JsonOption, LabelsArgument


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="ONNX file, or a name in the registry.")
    ],
    labels_csv: LabelsArgument,
    audio_dir: AudioDirOption = None,
    split: Annotated[
        Literal["test", "val", "train", "all"] | None,
        typer.Option(
            help="Rows of the split column to use; the test rows without it, if there are any."
        ),
    ] = None,
    by: Annotated[
        Literal["speaker", "label"] | None, typer.Option(help="List every speaker, or every label.")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Again in noise of each kind, at 20 to 0 dB.")
    ] = False,
    noise_dir: Annotated[
        Path | None, typer.Option(help="Recorded noise for --noise, besides the kinds it makes.")
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(metavar="LABELS.csv", help="Clips of other words: does --reject refuse them?"),
    ] = None,
    registry: RegistryOption = DEFAULT_ROOT,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for a report.")] = None,
) -> None:
    """Measure a model file on labelled recordings, the way it will be used."""
    from earful.models.released import find_model
    from earful.training.evaluate import evaluate_model, write_evaluation
    from earful.training.progress import work_progress

    with work_progress("evaluate") as on_progress:
        result = evaluate_model(
            find_model(model, registry), labels_csv, audio_dir, split=split, noise=noise,
            noise_dir=noise_dir, others_csv=others, progress=on_progress,
        )  # fmt: skip
    for note in result.notes:
        typer.echo(note, err=True)
    typer.echo(
        json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else result.text(by)
    )
    if out is not None:
        write_evaluation(result, out)
        typer.echo(f"report in {out}", err=True)
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


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
    noise: Annotated[
        bool, typer.Option("--noise/--no-noise", help="Of a run: try it in noise, for seconds.")
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
    from earful.training.run_report.facts import is_run
    from earful.training.run_report.page import PAGE, Wanted, write_run_report

    if not path.exists():
        raise EarfulError(
            f"there is no {path}; give the folder of a run (`earful train --out`) or a file of "
            "results (`earful classify --out`)"
        )
    if is_run(path):
        from earful.training.progress import work_progress

        if audio_dir is not None:
            raise typer.BadParameter("--audio-dir is for results; a run has --dataset")
        place = out or path / PAGE
        with work_progress("noise") as on_progress:
            wanted = Wanted(dataset, clips, round(audio_mb * 1e6), noise, on_progress)
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
    from earful.training.results_report import write_results_report

    found = write_results_report(results, out, clips=clips, audio_dir=audio_dir)
    typer.echo(f"{out}: {found.rows:,} rows of {found.files:,} files", err=True)
