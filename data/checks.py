"""``earshot check``: every row and every file of a labels CSV, and all that is wrong with them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.audio import AudioError
from data.clips import read_clips
from data.labels import ClipProblem, label_order, read_labels

# Files are decoded at one rate to be measured; 8 kHz is the cheapest that loses no defect.
_CHECK_RATE_HZ = 8_000


@dataclass(frozen=True)
class CheckReport:
    """What a CSV holds and what is wrong with it; durations in seconds."""

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

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "problems": [vars(problem) for problem in self.problems]}

    def text(self) -> str:
        """For a person: the counts, then a line a problem."""
        speakers = f"{len(self.by_speaker)} speakers" if self.by_speaker else "no speaker column"
        lines = [
            f"{self.rows} rows, {self.usable} usable, {len(self.by_label)} labels, {speakers}",
            "labels: " + ", ".join(f"{label} {n}" for label, n in self.by_label.items()),
            "sample rates: " + ", ".join(f"{r} Hz {n}" for r, n in self.by_sample_rate_hz.items()),
            f"{self.total_seconds:.1f} s in all, {self.shortest_seconds:.2f} to "
            f"{self.longest_seconds:.2f} s each",
        ]
        lines += [str(problem) for problem in self.problems]
        count = len(self.problems)
        lines.append(f"{count} problem{'s' * (count != 1)}" if count else "no problem found")
        return "\n".join(lines)


def check_labels(
    labels_csv: Path, audio_dir: Path | None, progress: Callable[[int, int], None]
) -> CheckReport:
    """Read the CSV and decode every file it names.

    Raises:
        LabelsError: the CSV itself cannot be read.
    """
    labelled = read_labels(labels_csv, audio_dir)
    problems = [ClipProblem.of_row(problem) for problem in labelled.problems]
    rates: Counter[int] = Counter()
    seconds: list[float] = []
    for done, (clip, audio) in enumerate(read_clips(labelled.clips, _CHECK_RATE_HZ), 1):
        if isinstance(audio, AudioError):
            problems.append(ClipProblem.of_audio(clip, audio))
        else:
            seconds.append(len(audio.waveform) / _CHECK_RATE_HZ)
            rates[audio.source_rate_hz] += 1
        progress(done, len(labelled.clips))
    labels = Counter(clip.label for clip in labelled.clips)
    lonely = [clip for clip in labelled.clips if labels[clip.label] == 1]
    problems += [
        ClipProblem(
            c.line, c.filename, "lonely_label", f"the only clip of {c.label!r}; two are needed"
        )
        for c in lonely
    ]
    return CheckReport(
        rows=len(labelled.clips) + len(labelled.problems),
        usable=len(seconds),
        by_label={label: labels[label] for label in label_order(labels)},
        by_speaker=dict(sorted(Counter(c.speaker for c in labelled.clips if c.speaker).items())),
        by_split=dict(sorted(Counter(c.split for c in labelled.clips if c.split).items())),
        by_sample_rate_hz=dict(rates.most_common()),
        total_seconds=sum(seconds),
        shortest_seconds=min(seconds, default=0.0),
        longest_seconds=max(seconds, default=0.0),
        problems=tuple(sorted(problems, key=lambda p: p.line)),
    )
