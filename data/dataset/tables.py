"""The tables and the manifest of a dataset."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from earful.data.atomic_write import json_bytes
from earful.data.dataset.dataset import (
    ALL_CLIPS_FILENAME,
    CLIP_COLUMNS,
    MANIFEST_FILENAME,
    SCHEMA_VERSION,
    TEST_CLIPS_FILENAME,
)
from earful.data.dataset.reader import MeasuredClip
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip, ClipProblem, clips_by_label
from earful.data.labels.multilabel import distinct_labels
from earful.data.labels.splits import SplitMode
from earful.data.text.formula_cells import write_csv


def write_tables(
    folder: Path,
    clips: Sequence[Clip],
    measured_clips: Sequence[MeasuredClip],
    skipped: Sequence[ClipProblem],
) -> None:
    """Write clips.csv, the labels CSVs of all clips and the test part, and what was skipped."""
    rows = [
        [i, clip.filename, *_labelling(clip), *_measured(measured), *_times(clip)]
        for i, (clip, measured) in enumerate(zip(clips, measured_clips, strict=True))
    ]
    write_csv(folder / "clips.csv", CLIP_COLUMNS, rows)
    _write_labels_csv(folder / ALL_CLIPS_FILENAME, clips)
    test_clips = [clip for clip in clips if clip.split == "test"]
    if test_clips:
        _write_labels_csv(folder / TEST_CLIPS_FILENAME, test_clips)
    if skipped:
        columns = ("line", "filename", "code", "message")
        write_csv(folder / "skipped.csv", columns, map(attrgetter(*columns), skipped))


def _write_labels_csv(path: Path, clips: Sequence[Clip]) -> None:
    """Write clips with their splits as a labels CSV with absolute paths."""
    columns = ("filename", "label", "speaker", "fold", "split", "start", "end")
    rows = ([clip.path.resolve(), *_labelling(clip), *_times(clip)] for clip in clips)
    write_csv(path, columns, rows)


def _labelling(clip: Clip) -> list[str]:
    return [clip.label, clip.speaker, clip.fold, clip.split]


def _measured(clip: MeasuredClip) -> list[str]:
    levels = (f"{clip.peak_dbfs:.2f}", f"{clip.rms_dbfs:.2f}")
    return [f"{clip.seconds:.6f}", clip.sha256, *levels]


def _times(clip: Clip) -> list[str]:
    return [_format_optional(clip.start_seconds), _format_optional(clip.end_seconds)]


def _format_optional(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def write_manifest(
    folder: Path,
    clips: Sequence[Clip],
    measured_clips: Sequence[MeasuredClip],
    config: FeatureConfig,
    mode: SplitMode,
    columns: Sequence[tuple[str, str]],
) -> None:
    """Write dataset.json; ``columns`` are the names in the CSV of the columns read, by role."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "labels": distinct_labels(clip.label for clip in clips),
        "features": config.to_dict(),
        "split_mode": mode,
        "columns": dict(columns),
        "counts": {
            "clips": len(clips),
            "by_split": dict(sorted(Counter(clip.split for clip in clips).items())),
            "by_label": dict(sorted(clips_by_label(clips).items())),
        },
        "content_hash": _content_hash(clips, measured_clips, config),
    }
    (folder / MANIFEST_FILENAME).write_bytes(json_bytes(manifest))


def _content_hash(
    clips: Sequence[Clip], measured_clips: Sequence[MeasuredClip], config: FeatureConfig
) -> str:
    """SHA-256 of all that determines the dataset: audio, times, labels, split, FeatureConfig.

    Folds count where there are any.
    """
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    has_folds = any(clip.fold for clip in clips)
    for clip, measured in zip(clips, measured_clips, strict=True):
        times = (clip.start_seconds, clip.end_seconds)
        fold = (clip.fold,) if has_folds else ()
        row = (measured.sha256, *times, clip.label, clip.speaker, clip.split, *fold)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
