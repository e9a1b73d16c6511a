"""The labels of feedback as clips for a retraining, each with who gave it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from earful.data.labels.clip import Clip, LabelledClips
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.export import FeedbackRecording, count_reasons, find_usable
from earful.service.feedback.majority import VoteRules
from earful.training.retraining.corrections import LabelOrigin


@dataclass(frozen=True)
class FeedbackLabels:
    """Labelled recordings, the origins of their labels by file, and labels left out by reason."""

    labels: LabelledClips
    origins: Mapping[Path, LabelOrigin]
    left_out: Mapping[str, int]


def read_feedback(
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    trust: Collection[str],
    known_labels: Collection[str],
) -> FeedbackLabels:
    """The labels of all saved recordings.

    ``trust`` are annotators whose labels count more than others' and overrule curated ones;
    ``known_labels`` are those of the model.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    rules = VoteRules(frozenset(trust), frozenset(known_labels))
    recordings, skipped = find_usable(database, recording_store, rules)
    return FeedbackLabels(
        LabelledClips(tuple(_clip(recording) for recording in recordings), (), frozenset()),
        {recording.path: _origin(recording) for recording in recordings},
        count_reasons(skipped),
    )


def _clip(recording: FeedbackRecording) -> Clip:
    resolved = recording.resolved
    return Clip(0, str(recording.path), recording.path, resolved.label, resolved.speaker)


def _origin(recording: FeedbackRecording) -> LabelOrigin:
    resolved = recording.resolved
    return LabelOrigin(", ".join(dict.fromkeys(resolved.agreeing)), resolved.is_trusted)
