"""``earful.prepare``: labels and audio files to a dataset."""

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

from earful.data.atomic_write import OutputError
from earful.data.dataset.clip_plan import plan_clips
from earful.data.dataset.dataset import MANIFEST_FILENAME
from earful.data.dataset.prepare import PrepareResult
from earful.data.dataset.prepare import prepare as write_dataset
from earful.data.dataset.ray_prepare import measure_on_ray
from earful.data.dataset.reader import measure_clips
from earful.data.datasets.read_labelled import read_labelled_clips
from earful.data.errors import (
    UsageError,
    optional_path,
    require_choice,
    require_number,
    require_path,
)
from earful.data.features.config import FeatureConfig
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.splits import SplitMode
from earful.training.runs.progress import work_progress

# Of speech and of sounds; the features of lower rates have too few bins.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000


def prepare(
    labels: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    audio_dir: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    label_separator: str = "",
    pattern: str | None = None,
    skip_bad: bool = False,
    replace: bool = False,
    split: SplitMode | None = None,
    sample_rate: int | None = None,
    clip_seconds: float | None = None,
    n_fft: int | None = None,
    win_length: int | None = None,
    hop_length: int | None = None,
    n_mels: int | None = None,
    n_mfcc: int | None = None,
    f_min: float | None = None,
    f_max: float | None = None,
    int16: bool = False,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: bool = False,
) -> PrepareResult:
    """Decode labelled clips, split them and write waveforms, MFCC and log-mel tensors.

    Args:
        labels: a labels CSV, a folder that has a folder of recordings for each label (or for each
            split, with a folder for each label inside), or a public dataset as it is unpacked.
        out: dataset folder to write, complete or not at all.
        audio_dir: folder of relative file names; the folder of the CSV by default.
        columns: columns of the CSV by role, such as ``{"label": "category"}``; an empty name leaves
            a role aside; by default usual names.
        label_separator: what stands between several labels of one cell, beside ``|``.
        pattern: where labels are in the file names of a folder: ``{label}_{speaker}_{n}.wav``.
        skip_bad: leave out rows and files that cannot be used; they are in ``skipped``.
        replace: replace a dataset that ``out`` holds.
        split: how train, validation and test parts are chosen; by default the most honest way
            that the columns allow (column, fold, speaker, random).
        sample_rate: Hz; by default the most common one of the files, at most 16000, and 8000
            where they hold no more.
        clip_seconds: seconds of audio that the network sees at once; longer clips are cropped. By
            default a round length that holds 95 % of the recordings, or, where that is above 10,
            windows of 5 s of the long ones.
        n_fft: samples per transform; 32 ms by default.
        win_length: samples per window; ``n_fft`` by default.
        hop_length: samples between windows; half of ``win_length`` by default.
        n_mels: number of mel bins.
        n_mfcc: number of cepstral coefficients.
        f_min: lower edge of the first mel bin in Hz.
        f_max: upper edge of the last mel bin in Hz.
        int16: store waveforms as 16-bit integers, in half the space.
        engine: decode in this process, or on Ray.
        ray_address: address of a running Ray cluster; Ray on this machine by default.
        progress: show a progress bar on stderr.

    Raises:
        UsageError: an argument of a wrong type, out of its range or none of the choices.
        LabelsError: the labels cannot be read.
        AnnotationError: the folders are no labels, or the pattern cannot be used.
        DatasetError: rows or files cannot be used, and ``skip_bad`` is false; all are listed.
        SplitError: the clips cannot be split this way.
        FeatureError: inconsistent feature settings.
        OutputError: ``out`` holds a dataset and ``replace`` is false, or cannot be written.
    """
    labels, out = require_path("labels", labels), require_path("out", out)
    audio_dir = optional_path("audio_dir", audio_dir)
    if split is not None:
        require_choice("split", split, get_args(SplitMode))
    require_choice("engine", engine, ("local", "ray"))
    if clip_seconds is not None:
        require_number("clip_seconds", clip_seconds)
    if sample_rate is not None:
        require_number("sample_rate", sample_rate, MIN_RATE_HZ, MAX_RATE_HZ, whole=True)
    if not replace and (out / MANIFEST_FILENAME).is_file():
        raise OutputError(
            f"{out} holds a dataset; replace it with --replace, or give another --out"
        )
    options = CsvOptions(audio_dir, columns or {}, label_separator)
    labelled = read_labelled_clips(labels, options, pattern or "")
    overrides = {
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": hop_length,
        "n_mels": n_mels,
        "n_mfcc": n_mfcc,
        "f_min_hz": f_min,
        "f_max_hz": f_max,
    }
    rate = None if sample_rate is None else int(sample_rate)
    plan = plan_clips(labelled.clips, clip_seconds, rate)
    features = build_features(
        plan.sample_rate_hz,
        plan.clip_seconds,
        {name: _feature(name, value) for name, value in overrides.items() if value is not None},
    )
    measure = partial(measure_on_ray, address=ray_address) if engine == "ray" else measure_clips
    with work_progress("prepare", show=progress) as on_progress:
        return write_dataset(
            labelled,
            out,
            plan=plan,
            features=features,
            split=split,
            skip_bad=skip_bad,
            int16=int16,
            measure=measure,
            progress=on_progress,
        )


def _feature(name: str, value: float) -> int | float:
    """A number of samples or bins, or a frequency in hertz, as the type of its field."""
    whole = not name.endswith("_hz")
    require_number(name.removesuffix("_hz"), value, whole=whole)
    return int(value) if whole else float(value)


def build_features(
    rate_hz: int, clip_seconds: float, overrides: dict[str, int | float]
) -> FeatureConfig:
    """The defaults at this rate with overrides; window, hop and MFCC follow what they depend on.

    Raises:
        UsageError: a rate or a length that is not above 0.
        FeatureError: inconsistent features.
    """
    if rate_hz < 1 or not clip_seconds > 0:
        raise UsageError("--sample-rate and --clip-seconds must be above 0")
    defaults = FeatureConfig.for_rate(rate_hz, clip_seconds)
    overrides = dict(overrides)
    if "n_fft" in overrides:
        overrides.setdefault("win_length", overrides["n_fft"])
    if "win_length" in overrides:
        overrides.setdefault("hop_length", max(1, int(overrides["win_length"]) // 2))
    if "n_mels" in overrides:
        overrides.setdefault("n_mfcc", min(defaults.n_mfcc, overrides["n_mels"]))
    return dataclasses.replace(defaults, **overrides)  # type: ignore[arg-type]
