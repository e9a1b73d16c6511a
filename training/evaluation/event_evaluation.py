"""Evaluate a released model on the labelled events of recordings, with the event detector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import format_list
from earful.data.atomic_write import json_bytes, staged_folder
from earful.data.audio.decode import AudioError
from earful.data.audio.stream_reader import ReadableBlocks, read_blocks
from earful.data.labels.clip import ClipProblem
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.multilabel import sort_labels, split_labels
from earful.models.bundle.event_options import is_background
from earful.service.classifier import Classifier
from earful.service.events import detect_events
from earful.training.evaluation.evaluator import REPORT, EvaluationError
from earful.training.evaluation.event_metrics import (
    COLLAR_SECONDS,
    LENGTH_SHARE,
    Criterion,
    EventCounts,
    SoundEvent,
    count_events,
    middle_within,
    total_counts,
    within_collar,
)
from earful.training.evaluation.labelled_events import (
    LabelledRecording,
    TrueEvent,
    read_labelled_recordings,
)

# The labels that are printed without ``--by label``: those with the lowest F1.
_MAX_LABELS = 5
# The end of a label track may be rounded, as in data.audio.stream_reader.
_END_ROUNDING_SECONDS = 0.01


@dataclass(frozen=True)
class EventEvaluation:
    """How well the events of recordings are found.

    recordings  number of recordings that could be read, and ``hours`` their length
    per_label   counts by label, of events within the collar
    hits        counts of all labels, of events whose middle lies within the true one
    background  number of rows with a label of which sounds are no events, as ``silence``
    failed      labels and recordings that could not be used
    """

    model: Path
    recordings: int
    hours: float
    collar_seconds: float
    per_label: dict[str, EventCounts]
    hits: EventCounts
    background: int
    failed: tuple[ClipProblem, ...]

    @property
    def overall(self) -> EventCounts:
        return total_counts(self.per_label)

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful evaluate --events --json``."""
        return {
            "recordings": self.recordings,
            "hours": self.hours,
            "collar_seconds": self.collar_seconds,
            "length_share": LENGTH_SHARE,
            "overall": self.overall.to_dict(self.hours),
            "hits": self.hits.to_dict(self.hours),
            "per_label": {
                label: counts.to_dict(self.hours) for label, counts in self.per_label.items()
            },
            "background": self.background,
            "failed": [vars(problem) for problem in self.failed],
        }

    def text(self, *, all_labels: bool = False) -> str:
        """All figures, labels by ascending F1, and failures; lines of at most 80 columns."""
        overall, collar_ms = self.overall, 1000 * self.collar_seconds
        recordings = "1 recording" if self.recordings == 1 else f"{self.recordings} recordings"
        lines = [
            f"{overall.true} events in {recordings} of {self.hours:.3g} hours, "
            f"{overall.found} found",
            f"tolerance: starts {collar_ms:.0f} ms; ends {collar_ms:.0f} ms or "
            f"{100 * LENGTH_SHARE:.0f} % of the length",
            f"  {_shares(overall)}",
            f"  borders of the {overall.matched} matched: starts off by "
            f"{_milliseconds(overall.start_error_seconds)}, ends by "
            f"{_milliseconds(overall.end_error_seconds)} (medians)",
            f"  false alarms: {overall.false_alarms}, "
            f"{overall.false_alarms / self.hours:.3g} an hour",
            "whatever the borders, if the middle lies within the true event:",
            f"  {_shares(self.hits)}",
        ]
        rows = sorted(self.per_label.items(), key=lambda item: item[1].f1 or 0.0)
        shown = rows if all_labels else rows[:_MAX_LABELS]
        lines += [f"  label {label}: {_shares(counts)}" for label, counts in shown]
        if len(shown) < len(rows):
            lines.append(f"  ... and {len(rows) - len(shown)} labels more (--by label)")
        if self.background:
            lines.append(f"left out: {self.background} rows whose label means background")
        if self.failed:
            lines.append(format_list([f"failed: {problem}" for problem in self.failed]))
        return "\n".join(lines)


def evaluate_recordings(
    model: Path,
    source: Path,
    options: CsvOptions = PLAIN_CSV,
    *,
    collar_seconds: float = COLLAR_SECONDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EventEvaluation:
    """Find the events of each recording as ``classify`` does, and match them with its true ones.

    Recordings and labels that cannot be used are in ``failed``, and count nowhere else.

    Raises:
        EventsError, LabelsError, AnnotationError: ``read_labelled_recordings``.
        ModelError: the model cannot be used.
        EvaluationError: no recording can be read.
    """
    classifier = Classifier.open(model)
    labelled = read_labelled_recordings(source, options)
    sums = _Sums({"collar": within_collar(collar_seconds), "hits": middle_within})
    failed = list(labelled.failed)
    for done, recording in enumerate(labelled.recordings, 1):
        try:
            found, seconds = _find_events(classifier, recording.path)
        except AudioError as error:
            failed.append(ClipProblem(0, recording.filename, error.code, str(error)))
        else:
            true, problems = _usable_events(recording, seconds, classifier.labels)
            failed += problems
            sums.background += sum(is_background(e.event.label) for e in recording.events)
            sums.add(true, found, seconds)
        progress(done, len(labelled.recordings))
    if not sums.recordings:
        raise EvaluationError(
            f"none of {len(labelled.recordings)} recordings can be read; the first: {failed[-1]}"
        )
    return EventEvaluation(
        model=model,
        recordings=sums.recordings,
        hours=sums.seconds / 3600,
        collar_seconds=collar_seconds,
        per_label={label: sums.counts["collar"][label] for label in sums.labels()},
        hits=total_counts(sums.counts["hits"]),
        background=sums.background,
        failed=tuple(failed),
    )


@dataclass
class _Sums:
    """The counts of all recordings by criterion and label, and the length of the recordings."""

    criteria: dict[str, Criterion]
    counts: dict[str, dict[str, EventCounts]] = field(default_factory=dict)
    recordings: int = 0
    seconds: float = 0.0
    background: int = 0

    def add(self, true: Sequence[SoundEvent], found: Sequence[SoundEvent], seconds: float) -> None:
        self.recordings += 1
        self.seconds += seconds
        for name, criterion in self.criteria.items():
            per_label = self.counts.setdefault(name, {})
            for label, counts in count_events(true, found, criterion).items():
                per_label.setdefault(label, EventCounts()).add(counts)

    def labels(self) -> list[str]:
        return sort_labels(self.counts["collar"])


def _find_events(classifier: Classifier, path: Path) -> tuple[list[SoundEvent], float]:
    """The events that the detector finds in a recording, and its length in seconds."""
    blocks = ReadableBlocks(read_blocks(path, classifier.sample_rate_hz))
    found = [SoundEvent(e.start, e.end, e.label) for e in detect_events(classifier, blocks)]
    if blocks.error is not None:
        raise blocks.error
    return found, blocks.n_samples / classifier.sample_rate_hz


def _usable_events(
    recording: LabelledRecording, seconds: float, labels: Sequence[str]
) -> tuple[list[SoundEvent], list[ClipProblem]]:
    """The true events that the model could find, and the problems of others than background."""
    usable: list[SoundEvent] = []
    problems: list[ClipProblem] = []
    for true in recording.events:
        if is_background(true.event.label):
            continue
        code, message = _find_problem(true, seconds, labels)
        if code:
            problems.append(ClipProblem(true.line, recording.filename, code, message))
        else:
            usable.append(true.event)
    return usable, problems


def _find_problem(true: TrueEvent, seconds: float, labels: Sequence[str]) -> tuple[str, str]:
    """The code and reason of an event that cannot be found; empty texts if it can."""
    event = true.event
    if not set(labels).issuperset(split_labels(event.label)):
        return "unknown_label", f"label {event.label!r}: the model has {', '.join(labels)}"
    if event.end_seconds > seconds + _END_ROUNDING_SECONDS:
        times = f"{event.start_seconds:g} to {event.end_seconds:g} s"
        return "bad_segment", f"{times} is not entirely inside the audio of {seconds:.3f} s"
    return "", ""


def write_event_evaluation(evaluation: EventEvaluation, out: Path) -> None:
    """Write evaluation.json.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    with staged_folder(out, REPORT) as folder:
        (folder / REPORT).write_bytes(json_bytes(evaluation.to_dict()))


def _shares(counts: EventCounts) -> str:
    return (
        f"recall {_percent(counts.recall)} of {counts.true}, "
        f"precision {_percent(counts.precision)} of {counts.found}, F1 {_percent(counts.f1)}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"
