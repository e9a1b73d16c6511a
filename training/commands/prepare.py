"""``earful prepare``: labels and audio to tensors on disk."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earful.data.errors import EarfulError
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    EngineOption,
    RayAddressOption,
    check_engine,
)

if TYPE_CHECKING:
    from earful.data.dataset.prepare import PrepareResult
    from earful.data.features.config import FeatureConfig
from earful.training.commands.options import AudioDirOption, LabelsArgument, SplitOption


def prepare(
    labels_csv: LabelsArgument,
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    audio_dir: AudioDirOption = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows and files out, and list them.")
    ] = False,
    split: SplitOption = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=4000,
            max=192000,
            help="Hz; the commonest of the files, at most 16000, without it.",
        ),
    ] = None,
    clip_seconds: Annotated[
        float, typer.Option(help="Seconds that the network sees at once.")
    ] = 1.0,
    n_fft: Annotated[
        int | None, typer.Option(help="Samples of a transform; 32 ms without it.")
    ] = None,
    win_length: Annotated[
        int | None, typer.Option(help="Samples of a window; n_fft without it.")
    ] = None,
    hop_length: Annotated[
        int | None, typer.Option(help="Samples; half a window without it.")
    ] = None,
    n_mels: Annotated[int | None, typer.Option(help="Mel bands.")] = None,
    n_mfcc: Annotated[int | None, typer.Option(help="Cepstral coefficients.")] = None,
    f_min: Annotated[
        float | None, typer.Option(help="Hz, lower edge of the first mel band.")
    ] = None,
    f_max: Annotated[
        float | None, typer.Option(help="Hz, upper edge of the last mel band.")
    ] = None,
    int16: Annotated[
        bool, typer.Option("--int16", help="Keep waveforms as 16-bit integers: half the room.")
    ] = False,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
) -> None:
    """Turn labels and audio into MFCC and log-mel tensors on disk."""
    check_engine(engine, ray_address)
    from earful.data.dataset.prepare import most_common_sample_rate
    from earful.data.dataset.prepare import prepare as prepare_dataset
    from earful.data.dataset.ray_prepare import measure_on_ray
    from earful.data.dataset.reader import measure_clips
    from earful.data.labels.labels_csv import read_labels
    from earful.training.runs.progress import work_progress

    labelled = read_labels(labels_csv, audio_dir)
    rate_hz = most_common_sample_rate(labelled.clips) if sample_rate is None else sample_rate
    given = {
        "n_fft": n_fft, "win_length": win_length, "hop_length": hop_length, "n_mels": n_mels,
        "n_mfcc": n_mfcc, "f_min_hz": f_min, "f_max_hz": f_max,
    }  # fmt: skip
    features = _features(rate_hz, clip_seconds, {k: v for k, v in given.items() if v is not None})
    measure = partial(measure_on_ray, address=ray_address) if engine == "ray" else measure_clips
    with work_progress("prepare") as on_progress:
        prepared = prepare_dataset(
            labelled, out, features=features, split=split, skip_bad=skip_bad,
            int16=int16, measure=measure, progress=on_progress,
        )  # fmt: skip
    _tell_prepared(prepared)
    if prepared.skipped:
        raise typer.Exit(EXIT_SOME_FAILED)


def _features(rate_hz: int, clip_seconds: float, given: dict[str, Any]) -> "FeatureConfig":
    """The defaults at this rate with what was given put in; what follows from n_fft follows."""
    import dataclasses

    from earful.data.features.config import FeatureConfig

    if rate_hz < 1 or not clip_seconds > 0:
        raise EarfulError("--sample-rate and --clip-seconds must be above 0")
    defaults = FeatureConfig.for_rate(rate_hz, clip_seconds)
    if "n_fft" in given:
        given.setdefault("win_length", given["n_fft"])
    if "win_length" in given:
        given.setdefault("hop_length", max(1, given["win_length"] // 2))
    if "n_mels" in given:
        given.setdefault("n_mfcc", min(defaults.n_mfcc, given["n_mels"]))
    return dataclasses.replace(defaults, **given)


def _tell_prepared(prepared: "PrepareResult") -> None:
    parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
    features = prepared.features
    typer.echo(
        f"{prepared.folder}: {prepared.clips} clips, {len(prepared.labels)} labels, {parts} "
        f"({prepared.split_mode} split); {features.sample_rate_hz} Hz, "
        f"{features.clip_seconds:g} s, MFCC {features.n_mfcc} x {features.frames}, "
        f"log-mel {features.n_mels} x {features.frames}"
    )
    for note in prepared.notes():
        typer.echo(f"note: {note}", err=True)
