"""Validation of labelled clips and all their audio files."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from earful.data.audio.decode import AudioError
from earful.data.dataset.clip_plan import plan_clips
from earful.data.dataset.late_ends import LateEnd, describe_late_ends, find_late_end
from earful.data.dataset.reader import ClipAudio, read_clips
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips, clips_by_label
from earful.data.labels.multilabel import sort_labels, split_labels

ClipCallback = Callable[[Clip, ClipAudio], None]


@dataclass(frozen=True)
class CheckReport:
    """Counts of labelled clips and all their problems; durations in seconds."""

    rows: int
    usable: int
    by_label: dict[str, int]
    by_speaker: dict[str, int]
    by_split: dict[str, int]
    by_sample_rate_hz: dict[int, int]
    total_seconds: float
    shortest_seconds: float
    longest_seconds: float
    problems: tuple[ClipProblem, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "problems": [vars(problem) for problem in self.problems]}

    def summary_lines(self) -> list[str]:
        """The counts as lines of text."""
        speakers = f"{len(self.by_speaker)} speakers" if self.by_speaker else "no speaker column"
        return [
            f"{self.rows} rows, {self.usable} usable, {len(self.by_label)} labels, {speakers}",
            "labels: " + ", ".join(f"{label} {n}" for label, n in self.by_label.items()),
            "sample rates: " + ", ".join(f"{r} Hz {n}" for r, n in self.by_sample_rate_hz.items()),
            f"{self.total_seconds:.1f} s in total, {self.shortest_seconds:.2f} to "
            f"{self.longest_seconds:.2f} s each",
            *(f"note: {note}" for note in self.notes),
        ]


def check_labels(
    labelled: LabelledClips,
    progress: Callable[[int, int], None],
    on_clip: ClipCallback = lambda clip, audio: None,
) -> CheckReport:
    """Decode the audio of all clips.

    ``on_clip`` is called with each usable clip and its audio at the file's own rate; the audio is
    not kept here. ``progress`` is called with (clips done, total).
    """
    problems = list(labelled.problems)
    rates: Counter[int] = Counter()
    seconds: list[float] = []
    late: list[LateEnd | None] = []
    for done, (clip, audio) in enumerate(read_clips(labelled.clips, None), 1):
        if isinstance(audio, AudioError):
            problems.append(clip.audio_problem(audio))
        else:
            seconds.append(len(audio.waveform) / audio.source_rate_hz)
            late.append(find_late_end(clip, seconds[-1]))
            rates[audio.source_rate_hz] += 1
            on_clip(clip, audio)
        progress(done, len(labelled.clips))
    labels = clips_by_label(labelled.clips)
    return CheckReport(
        rows=len(labelled.clips) + len(labelled.problems),
        usable=len(seconds),
        by_label={label: labels[label] for label in sort_labels(labels)},
        by_speaker=dict(sorted(Counter(c.speaker for c in labelled.clips if c.speaker).items())),
        by_split=dict(sorted(Counter(c.split for c in labelled.clips if c.split).items())),
        by_sample_rate_hz=dict(rates.most_common()),
        total_seconds=sum(seconds),
        shortest_seconds=min(seconds, default=0.0),
        longest_seconds=max(seconds, default=0.0),
        problems=tuple(
            sorted([*problems, *_single_clip_labels(labelled, labels)], key=lambda p: p.line)
        ),
        notes=(
            *labelled.notes,
            *describe_late_ends([end for end in late if end is not None]),
            *([f"prepare would write {plan_clips(labelled.clips).reason}"] if seconds else []),
        ),
    )


def _single_clip_labels(labelled: LabelledClips, labels: Counter[str]) -> list[ClipProblem]:
    return [
        c.problem("single_clip_label", f"the only clip of {label!r}; add another")
        for c in labelled.clips
        for label in split_labels(c.label)
        if labels[label] == 1
    ]
