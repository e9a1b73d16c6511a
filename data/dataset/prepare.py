"""Labels and audio to a dataset of tensors, clip by clip, in constant memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from earful.data.atomic_write import staged_folder
from earful.data.audio.decode import AudioError
from earful.data.dataset.clip_length import fits
from earful.data.dataset.clip_plan import ClipPlan, plan_clips
from earful.data.dataset.dataset import MANIFEST_FILENAME, DatasetError
from earful.data.dataset.late_ends import LateEnd, describe_late_ends, find_late_end
from earful.data.dataset.reader import MeasuredClip, measure_clips
from earful.data.dataset.tables import write_manifest, write_tables
from earful.data.dataset.writer import TensorWriter
from earful.data.errors import command
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import MAX_REPORTED_PROBLEMS, Clip, ClipProblem, LabelledClips
from earful.data.labels.multilabel import distinct_labels, sort_labels
from earful.data.labels.recording_splits import assign_recording_splits
from earful.data.labels.splits import SplitMode, assign_splits, default_split_mode, shared_speakers

# Replaces the window of a clip once it is written, so that memory does not grow.
NO_WINDOW = np.zeros(0, np.float32)

ProgressCallback = Callable[[int, int], None]
MeasureClips = Callable[
    [Sequence[Clip], FeatureConfig], Iterator[tuple[Clip, MeasuredClip | AudioError]]
]


@dataclass(frozen=True)
class PrepareResult:
    """A prepared dataset: its counts, and the facts behind its notes."""

    folder: Path
    clips: int
    labels: tuple[str, ...]
    by_split: dict[str, int]
    split_mode: SplitMode
    features: FeatureConfig
    skipped: tuple[ClipProblem, ...]
    cropped_clips: int
    shared_speakers: tuple[str, ...]
    leaked_test_clips: int
    column_notes: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    late_ends: tuple[LateEnd, ...] = ()
    length_note: str = ""

    def notes(self) -> list[str]:
        """Notes for the user to read before training, a sentence each."""
        messages = [*self.column_notes, *([self.length_note] if self.length_note else [])]
        messages += [*describe_late_ends(self.late_ends), *self._fold_notes()]
        if self.shared_speakers:
            messages.append(
                f"{len(self.shared_speakers)} speakers are in the test part and outside it: test "
                "accuracy does not measure new speakers (use --split speaker)"
            )
        elif not self.by_split.get("test"):
            messages.append(
                "there is no test part: `train` will report the accuracy on the validation clips, "
                "which also select the epoch"
            )
        elif self.split_mode == "random":
            messages.append(
                "a random split puts clips that belong together (of one speaker, device or place) "
                "into several parts; a speaker or group column keeps them apart"
            )
        if self.leaked_test_clips:
            messages.append(
                f"{self.leaked_test_clips} test clips come from files that are also outside the "
                "test part"
            )
        if self.cropped_clips:
            messages.append(
                f"{self.cropped_clips} clips are longer than {self.features.clip_seconds:g} s "
                "and were cropped to their loudest part (--clip-seconds keeps more)"
            )
        messages += [f"skipped {clip}" for clip in self.skipped]
        return messages

    def _fold_notes(self) -> list[str]:
        if not self.folds or self.split_mode == "column":
            return []
        if self.split_mode != "fold":
            return [f"the {len(self.folds)} folds of the clips are not used (--split fold)"]
        validation = f", {self.folds[-2]!r} for validation" if len(self.folds) > 2 else ""
        every_fold = command("crossval", self.folder, "--folds", "column", "--out", "FOLDS")
        return [
            f"of {len(self.folds)} folds, {self.folds[-1]!r} is held back for testing{validation}; "
            f"to test on each fold in turn, as published results do: {every_fold}"
        ]


@dataclass
class _WrittenClips:
    """Clips whose tensors are written, with their measures; late ends; and clips that failed."""

    clips: list[Clip] = field(default_factory=list)
    measured: list[MeasuredClip] = field(default_factory=list)
    late: list[LateEnd] = field(default_factory=list)
    failed: list[ClipProblem] = field(default_factory=list)


def prepare(
    labelled: LabelledClips,
    out: Path,
    *,
    plan: ClipPlan | None = None,
    features: FeatureConfig | None = None,
    split: SplitMode | None = None,
    skip_bad: bool = False,
    int16: bool = False,
    measure: MeasureClips = measure_clips,
    progress: ProgressCallback = lambda done, total: None,
) -> PrepareResult:
    """Write the dataset ``out``, complete or not at all.

    ``plan`` and ``features`` are chosen from the files by default; with ``features`` alone the
    clips stay as they are. ``split`` defaults to the strictest mode that the columns allow.
    ``int16`` stores waveforms as 16-bit integers, in half the space. ``measure`` decodes the clips
    in order, in this process or on a cluster (``data.dataset.ray_prepare``). ``progress`` is called
    with (clips done, total).

    Raises:
        DatasetError: bad rows or unusable audio, all listed, unless ``skip_bad``.
        SplitError: no usable split.
        OutputError: ``out`` is taken by something else, or cannot be written.
    """
    if plan is None:
        wanted = (features.clip_seconds, features.sample_rate_hz) if features else ()
        plan = plan_clips(labelled.clips, *wanted)
    mode = split or default_split_mode(labelled.columns)
    config = features or FeatureConfig.for_rate(plan.sample_rate_hz, plan.clip_seconds)
    with staged_folder(out, MANIFEST_FILENAME) as folder:
        with TensorWriter(folder, config, int16=int16) as writer:
            written = _write_clips(writer, measure(plan.clips, config), len(plan.clips), progress)
        kept, measured_clips = written.clips, written.measured
        # All windows of a broken file fail alike.
        skipped = list(dict.fromkeys([*labelled.problems, *written.failed]))
        if skipped and not (skip_bad and kept):
            raise DatasetError(_skipped_message(skipped, labelled.notes, skip_bad=skip_bad))
        splits = (assign_recording_splits if plan.windowed else assign_splits)(kept, mode)
        kept = [replace(clip, split=split) for clip, split in zip(kept, splits, strict=True)]
        write_tables(folder, kept, measured_clips, skipped)
        write_manifest(folder, kept, measured_clips, config, mode, labelled.column_names)
    return PrepareResult(
        folder=out,
        clips=len(kept),
        labels=tuple(distinct_labels(clip.label for clip in kept)),
        by_split=dict(Counter(splits)),
        split_mode=mode,
        features=config,
        skipped=tuple(skipped),
        cropped_clips=sum(not fits(m.seconds, config.clip_seconds) for m in measured_clips),
        shared_speakers=tuple(sorted(shared_speakers(kept, splits))),
        leaked_test_clips=_count_leaked_test_clips(measured_clips, splits),
        column_notes=labelled.notes,
        length_note=plan.reason,
        late_ends=tuple(written.late),
        folds=tuple(sort_labels(clip.fold for clip in kept if clip.fold)),
    )


def _write_clips(
    writer: TensorWriter,
    measured_clips: Iterator[tuple[Clip, MeasuredClip | AudioError]],
    n_clips: int,
    progress: ProgressCallback,
) -> _WrittenClips:
    written = _WrittenClips()
    for done, (clip, measured) in enumerate(measured_clips, 1):
        if isinstance(measured, AudioError):
            written.failed.append(clip.audio_problem(measured))
        else:
            end = find_late_end(clip, measured.seconds)
            written.late += [] if end is None else [end]
            written.clips.append(clip if end is None else end.used_clip)
            written.measured.append(replace(measured, window=NO_WINDOW))
            writer.add(measured.window)
        progress(done, n_clips)
    return written


def _count_leaked_test_clips(measured_clips: Sequence[MeasuredClip], splits: Sequence[str]) -> int:
    """The number of test clips whose file is also outside the test part."""
    outside_test = {m.sha256 for m, s in zip(measured_clips, splits, strict=True) if s != "test"}
    return sum(
        m.sha256 in outside_test for m, s in zip(measured_clips, splits, strict=True) if s == "test"
    )


def _skipped_message(
    skipped: Sequence[ClipProblem], notes: Sequence[str], *, skip_bad: bool
) -> str:
    listed = [f"  {clip}" for clip in skipped[:MAX_REPORTED_PROBLEMS]]
    if len(skipped) > len(listed):
        listed.append(f"  and {len(skipped) - len(listed)} more (earful check lists them all)")
    rows = "row" if len(skipped) == 1 else "rows"
    advice = (
        "no usable row is left"
        if skip_bad
        else "fix them, or skip them with `earful prepare --skip-bad`"
    )
    told = [f"note: {note}" for note in dict.fromkeys(notes)]  # how the labels were understood
    return "\n".join([f"{len(skipped)} {rows} cannot be used; {advice}:", *listed, *told])
