"""The tables and the manifest of a dataset."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
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
from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.multilabel import distinct_labels, split_labels
from earful.data.labels.splits import SplitMode


def write_tables(
    folder: Path,
    clips: Sequence[Clip],
    measured_clips: Sequence[MeasuredClip],
    splits: Sequence[str],
    skipped: Sequence[ClipProblem],
) -> None:
    """Write clips.csv, the labels CSVs of all clips and the test part, and what was skipped."""
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CLIP_COLUMNS)
        for i, (clip, measured, split) in enumerate(
            zip(clips, measured_clips, splits, strict=True)
        ):
            labelling = [clip.filename, clip.label, clip.speaker, clip.fold, split]
            audio = [f"{measured.seconds:.6f}", measured.sha256]
            levels = [f"{measured.peak_dbfs:.2f}", f"{measured.rms_dbfs:.2f}"]
            times = [_format_optional(clip.start_seconds), _format_optional(clip.end_seconds)]
            writer.writerow([i, *labelling, *audio, *levels, *times])
    _write_labels_csv(folder / ALL_CLIPS_FILENAME, list(zip(clips, splits, strict=True)))
    test_rows = [pair for pair in zip(clips, splits, strict=True) if pair[1] == "test"]
    if test_rows:
        _write_labels_csv(folder / TEST_CLIPS_FILENAME, test_rows)
    if skipped:
        with (folder / "skipped.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "filename", "code", "message"))
            writer.writerows((s.line, s.filename, s.code, s.message) for s in skipped)


def _write_labels_csv(path: Path, clips: Sequence[tuple[Clip, str]]) -> None:
    """Write clips and their splits as a labels CSV with absolute paths."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "fold", "split", "start", "end"))
        for clip, split in clips:
            times = [_format_optional(clip.start_seconds), _format_optional(clip.end_seconds)]
            labelling = [clip.label, clip.speaker, clip.fold, split]
            writer.writerow([clip.path.resolve(), *labelling, *times])


def _format_optional(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def write_manifest(
    folder: Path,
    clips: Sequence[Clip],
    measured_clips: Sequence[MeasuredClip],
    splits: Sequence[str],
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
            "by_split": dict(sorted(Counter(splits).items())),
            "by_label": dict(sorted(_clips_by_label(clips).items())),
        },
        "content_hash": _content_hash(clips, measured_clips, splits, config),
    }
    (folder / MANIFEST_FILENAME).write_bytes(json_bytes(manifest))


def _clips_by_label(clips: Sequence[Clip]) -> Counter[str]:
    return Counter(label for clip in clips for label in split_labels(clip.label))


def _content_hash(
    clips: Sequence[Clip],
    measured_clips: Sequence[MeasuredClip],
    splits: Sequence[str],
    config: FeatureConfig,
) -> str:
    """SHA-256 of all that determines the dataset: audio, times, labels, split, FeatureConfig.

    Folds count where there are any.
    """
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    has_folds = any(clip.fold for clip in clips)
    for clip, measured, split in zip(clips, measured_clips, splits, strict=True):
        times = (clip.start_seconds, clip.end_seconds)
        fold = (clip.fold,) if has_folds else ()
        row = (measured.sha256, *times, clip.label, clip.speaker, split, *fold)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
