"""Labels and audio to a dataset of tensors, clip by clip: memory stays flat as they grow."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earful.data.atomic_write import staged_folder
from earful.data.audio.decode import AudioError
from earful.data.dataset.dataset import (
    ALL_ROWS,
    CLIP_COLUMNS,
    MANIFEST,
    SCHEMA_VERSION,
    TEST_ROWS,
    DatasetError,
)
from earful.data.dataset.reader import MeasuredClip, measure_clips, read_clips
from earful.data.dataset.writer import TensorWriter
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import MAX_REPORTED_PROBLEMS, Clip, ClipProblem, LabelledClips
from earful.data.labels.multilabel import all_labels, split_labels
from earful.data.labels.splits import SplitMode, assign_splits, default_mode, shared_speakers

MAX_DEFAULT_RATE_HZ = 16_000
_RATE_PROBES = 50
# In place of a window that is written: what is kept of a clip stays small.
NOTHING = np.zeros(0, np.float32)

Progress = Callable[[int, int], None]
Measure = Callable[
    [Sequence[Clip], FeatureConfig], Iterator[tuple[Clip, MeasuredClip | AudioError]]
]


@dataclass(frozen=True)
class Prepared:
    """What was written, and what a person should know about it."""

    folder: Path
    clips: int
    labels: tuple[str, ...]
    by_split: dict[str, int]
    split_mode: SplitMode
    features: FeatureConfig
    skipped: tuple[ClipProblem, ...]
    longer_than_clip: int
    shared_speakers: tuple[str, ...]
    audio_on_both_sides: int

    def notes(self) -> list[str]:
        """What a person should know before training on this, a sentence each."""
        found: list[str] = []
        if self.shared_speakers:
            found.append(
                f"{len(self.shared_speakers)} speakers are in the test part and outside it: test "
                "accuracy will not tell how new voices fare (--split speaker does)"
            )
        elif not self.by_split.get("test"):
            found.append(
                "no clip is held back for testing: what `train` tells will be the accuracy on the "
                "clips that chose the epoch"
            )
        elif self.split_mode == "random":
            found.append(
                "a random split puts clips of one voice on both sides; give a speaker column to "
                "measure on new voices"
            )
        if self.audio_on_both_sides:
            found.append(
                f"{self.audio_on_both_sides} test clips come from files that are also outside the "
                "test part"
            )
        if self.longer_than_clip:
            found.append(
                f"{self.longer_than_clip} clips are longer than {self.features.clip_seconds:g} s "
                "and were cut to where they are loudest (--clip-seconds keeps more)"
            )
        found += [f"left out {clip}" for clip in self.skipped]
        return found


def prepare(
    labelled: LabelledClips,
    out: Path,
    *,
    features: FeatureConfig | None = None,
    split: SplitMode | None = None,
    skip_bad: bool = False,
    int16: bool = False,
    measure: Measure = measure_clips,
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Write the dataset ``out``, whole or not at all.

    ``measure`` decodes the clips, in their order: in this process, or elsewhere (``data.dataset.ray_prepare``).

    ``int16`` keeps the waveforms as 16-bit integers, in half the room.

    ``features`` defaults to ``FeatureConfig.for_rate`` of the commonest sample rate, at most
    16 kHz; ``split`` to the most honest mode that the columns allow.

    Raises:
        DatasetError: bad rows or audio that cannot be used, unless ``skip_bad``; all of them.
        SplitError: no usable split.
        OutputError: ``out`` is taken by something else or cannot be written.
    """
    clips = labelled.clips
    mode = split or default_mode(labelled.columns)
    config = features or FeatureConfig.for_rate(commonest_rate(clips))
    skipped = [ClipProblem.of_row(problem) for problem in labelled.problems]
    with staged_folder(out, MANIFEST) as folder:
        kept: list[Clip] = []
        facts: list[MeasuredClip] = []
        with TensorWriter(folder, config, int16=int16) as writer:
            for done, (clip, found) in enumerate(measure(clips, config), 1):
                if isinstance(found, AudioError):
                    skipped.append(ClipProblem.of_audio(clip, found))
                else:
                    kept.append(clip)
                    facts.append(replace(found, window=NOTHING))
                    writer.add(found.window)
                progress(done, len(clips))
        if skipped and not (skip_bad and kept):
            raise DatasetError(_skipped_message(skipped, skip_bad=skip_bad))
        splits = assign_splits(kept, mode)
        _write_tables(folder, kept, facts, splits, skipped)
        _write_manifest(folder, kept, facts, splits, config, mode)
    return Prepared(
        folder=out,
        clips=len(kept),
        labels=tuple(all_labels(clip.label for clip in kept)),
        by_split=dict(Counter(splits)),
        split_mode=mode,
        features=config,
        skipped=tuple(skipped),
        longer_than_clip=sum(f.seconds > config.clip_seconds for f in facts),
        shared_speakers=tuple(sorted(shared_speakers(kept, splits))),
        audio_on_both_sides=_audio_on_both_sides(facts, splits),
    )


def commonest_rate(clips: Sequence[Clip]) -> int:
    """The commonest sample rate among clips spread over the list, at most 16 kHz."""
    step = max(1, len(clips) // _RATE_PROBES)
    found = [audio for _, audio in read_clips(clips[::step], MAX_DEFAULT_RATE_HZ)]
    rates = Counter(a.source_rate_hz for a in found if not isinstance(a, AudioError))
    if not rates:
        return MAX_DEFAULT_RATE_HZ  # every file fails: the caller reports each
    return min(rates.most_common(1)[0][0], MAX_DEFAULT_RATE_HZ)


def _write_tables(
    folder: Path,
    clips: Sequence[Clip],
    facts: Sequence[MeasuredClip],
    splits: Sequence[str],
    skipped: Sequence[ClipProblem],
) -> None:
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CLIP_COLUMNS)
        for i, (clip, fact, split) in enumerate(zip(clips, facts, splits, strict=True)):
            times = [_optional(clip.start_seconds), _optional(clip.end_seconds)]
            levels = [f"{fact.peak_dbfs:.2f}", f"{fact.rms_dbfs:.2f}"]
            writer.writerow(
                [i, clip.filename, clip.label, clip.speaker, split, f"{fact.seconds:.6f}",
                 fact.sha256, *levels, *times]
            )  # fmt: skip
    _write_rows(folder / ALL_ROWS, list(zip(clips, splits, strict=True)))
    held_back = [pair for pair in zip(clips, splits, strict=True) if pair[1] == "test"]
    if held_back:
        _write_rows(folder / TEST_ROWS, held_back)
    if skipped:
        with (folder / "skipped.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "filename", "code", "message"))
            writer.writerows((s.line, s.filename, s.code, s.message) for s in skipped)


def _write_rows(path: Path, clips: Sequence[tuple[Clip, str]]) -> None:
    """Clips and their splits as a labels CSV with whole paths: to evaluate or go on from."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "split", "start", "end"))
        for clip, split in clips:
            times = [_optional(clip.start_seconds), _optional(clip.end_seconds)]
            writer.writerow([clip.path.resolve(), clip.label, clip.speaker, split, *times])


def _optional(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def _write_manifest(
    folder: Path,
    clips: Sequence[Clip],
    facts: Sequence[MeasuredClip],
    splits: Sequence[str],
    config: FeatureConfig,
    mode: SplitMode,
) -> None:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "labels": all_labels(clip.label for clip in clips),
        "features": config.to_dict(),
        "split_mode": mode,
        "counts": {
            "clips": len(clips),
            "by_split": dict(sorted(Counter(splits).items())),
            "by_label": dict(sorted(_clips_by_label(clips).items())),
        },
        "content_hash": _content_hash(clips, facts, splits, config),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _clips_by_label(clips: Sequence[Clip]) -> Counter[str]:
    return Counter(label for clip in clips for label in split_labels(clip.label))


def _content_hash(
    clips: Sequence[Clip],
    facts: Sequence[MeasuredClip],
    splits: Sequence[str],
    config: FeatureConfig,
) -> str:
    """sha256 over all that decides the tensors: audio, times, labels, split and FeatureConfig."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for clip, fact, split in zip(clips, facts, splits, strict=True):
        row = (fact.sha256, clip.start_seconds, clip.end_seconds, clip.label, clip.speaker, split)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _audio_on_both_sides(facts: Sequence[MeasuredClip], splits: Sequence[str]) -> int:
    """Number of test clips whose very bytes are also outside the test part."""
    learnt = {f.sha256 for f, split in zip(facts, splits, strict=True) if split != "test"}
    return sum(f.sha256 in learnt for f, s in zip(facts, splits, strict=True) if s == "test")


def _skipped_message(skipped: Sequence[ClipProblem], *, skip_bad: bool) -> str:
    shown = [f"  {clip}" for clip in skipped[:MAX_REPORTED_PROBLEMS]]
    if len(skipped) > len(shown):
        shown.append(f"  and {len(skipped) - len(shown)} more (earful check lists them all)")
    rows = "row" if len(skipped) == 1 else "rows"
    advice = (
        "no other is left" if skip_bad else "mend what is named, or leave it out with --skip-bad"
    )
    return "\n".join([f"{len(skipped)} {rows} cannot be used; {advice}:", *shown])
