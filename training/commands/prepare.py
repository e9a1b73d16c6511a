"""``earful prepare``: labels and audio files to a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earful.service.commands.next_steps import keep_on_interrupt, print_message, print_next, wrap
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    EngineOption,
    LabelSeparatorOption,
    RayAddressOption,
    check_engine,
    csv_options,
)
from earful.service.core.echo import echo
from earful.training.commands.options import (
    AudioDirOption,
    LabelsOrFolderArgument,
    PatternOption,
    ReplaceOption,
    SplitOption,
)
from earful.training.commands.setting_options import with_settings
from earful.training.config.setting import FEATURES, setting

if TYPE_CHECKING:
    from earful.data.dataset.prepare import PrepareResult

MAX_LISTED_LABELS = 10


@dataclass(frozen=True)
class FeatureFlags:
    """The settings of the front end that have a flag (``data.features.config``)."""

    n_fft: int | None = setting(None, "Samples per transform.", panel=FEATURES, shown="32 ms")
    win_length: int | None = setting(None, "Samples per window.", panel=FEATURES, shown="--n-fft")
    hop_length: int | None = setting(
        None, "Samples between windows.", panel=FEATURES, shown="half a window"
    )
    n_mels: int | None = setting(None, "Number of mel bins.", panel=FEATURES, shown="")
    n_mfcc: int | None = setting(None, "Number of cepstral coefficients.", panel=FEATURES, shown="")
    f_min: float | None = setting(
        None, "Lower edge of the first mel bin in Hz.", panel=FEATURES, shown=""
    )
    f_max: float | None = setting(
        None, "Upper edge of the last mel bin in Hz.", panel=FEATURES, shown=""
    )


@with_settings(FeatureFlags, after="sample_rate")
def prepare(
    labels: LabelsOrFolderArgument,
    out: Annotated[Path, typer.Option(metavar="DATASET", help="Dataset folder to write.")],
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    pattern: PatternOption = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out bad rows and files, and list them.")
    ] = False,
    replace: ReplaceOption = False,
    split: SplitOption = None,
    clip_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds of audio that the network sees at once. (default: what holds 95 % of the "
            "recordings, at most 10; of longer ones windows of 5)"
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=4000,
            max=192000,
            help="Hz. (default: the most common one of the files, at most 16000; 8000 where they "
            "hold no more)",
        ),
    ] = None,
    int16: Annotated[
        bool,
        typer.Option("--int16", help="Store waveforms as 16-bit integers, in half the space."),
    ] = False,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    **features: Any,
) -> None:
    """Turn labels and audio into a dataset: decode, check, split, compute features."""
    check_engine(engine, ray_address)
    from earful.training.api.prepare import prepare as prepare_dataset

    with keep_on_interrupt("nothing was written"):
        prepared = prepare_dataset(
            labels,
            out,
            **vars(csv_options(audio_dir, columns, label_separator)),
            pattern=pattern,
            skip_bad=skip_bad,
            replace=replace,
            split=split,
            sample_rate=sample_rate,
            clip_seconds=clip_seconds,
            int16=int16,
            engine=engine,
            ray_address=ray_address,
            **features,
            progress=True,
        )
    _print_prepared(prepared)
    print_next(("train", out, "--out", "RUN"))
    if prepared.skipped:
        raise typer.Exit(EXIT_SOME_FAILED)


def _print_prepared(prepared: "PrepareResult") -> None:
    parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
    features = prepared.features
    echo(f"{prepared.folder}: {prepared.clips} clips, {len(prepared.labels)} labels")
    echo(wrap(f"labels: {_list_labels(prepared.labels)}"))
    echo(f"{parts} ({prepared.split_mode} split)")
    echo(
        f"{features.sample_rate_hz} Hz, {features.clip_seconds:g} s, "
        f"MFCC {features.n_mfcc} x {features.frames}, log-mel {features.n_mels} x {features.frames}"
    )
    for note in prepared.notes():
        print_message(f"note: {note}")


def _list_labels(labels: Sequence[str]) -> str:
    more = len(labels) - MAX_LISTED_LABELS
    return ", ".join(labels[:MAX_LISTED_LABELS]) + (f" and {more} more" if more > 0 else "")
