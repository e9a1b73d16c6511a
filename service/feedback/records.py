"""What goes into the database and comes out of it; no database is needed to speak of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from earful.service.feedback.prediction_ids import PredictionRecord


@dataclass(frozen=True)
class StoredRecording:
    """A recording that is kept, and what the model heard in it.

    ``sha256`` is that of its bytes, ``suffix`` says what kind of file it is, and ``margin`` is the
    distance of the two best scores.
    """

    sha256: str
    suffix: str
    n_bytes: int
    seconds: float
    predicted_label: str
    score: float
    margin: float
    model_name: str
    model_version: str

    @property
    def prediction(self) -> PredictionRecord:
        return PredictionRecord(
            self.sha256, self.predicted_label, self.score, self.model_name, self.model_version
        )


@dataclass(frozen=True)
class FeedbackAnnotation:
    """What ``who`` says is right of a recording; ``label`` None takes back what they said.

    ``sha256`` is that of the recording's bytes, ``heard`` what the model had heard in it, if that
    is known, ``source`` where it was said: ``api``, ``page``, ``review`` or a tool's name.
    ``request_key`` is the sender's own name for the request.
    """

    sha256: str
    label: str | None
    annotator: str
    speaker: str = ""
    comment: str = ""
    source: str = "api"
    prediction: PredictionRecord | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class SubmitResult:
    """The row of an opinion: ``repeated`` when it was there, ``audio_kept`` if its recording is."""

    id: int
    sha256: str
    duplicate: bool
    recording_saved: bool


class IdempotencyKeyReused(ValueError):  # noqa: N818 - what it is
    """A request's key that came with something else before."""


@dataclass(frozen=True)
class ReviewItem:
    """A clip to label: ``votes`` are the labels it has with their counts, ``rank`` why it comes."""

    clip: StoredRecording
    rank: int
    label_counts: dict[str, int]


@dataclass(frozen=True)
class ReviewPage:
    """Some clips; ``after`` asks for those behind them, and is empty at the end.

    ``waiting`` counts all that this person has not labelled, ``labelled`` those they have;
    ``labels`` are all that anybody has given.
    """

    items: tuple[ReviewItem, ...]
    cursor: str
    remaining: int
    labelled: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SubjectData:
    """Rows in which a key is ``who`` or ``speaker``, and the recordings that they are about."""

    annotations: tuple[dict[str, Any], ...]
    clips: tuple[dict[str, Any], ...]

    def as_json(self, key: str, locate: Callable[[str, str], str]) -> dict[str, Any]:
        """All of it as JSON; ``audio`` says where a recording (sha256, suffix) is to be had."""
        clips = [{**clip, "audio": locate(clip["sha256"], clip["suffix"])} for clip in self.clips]
        return {"key": key, "annotations": list(self.annotations), "recordings": clips}


@dataclass(frozen=True)
class ErasureResult:
    """How much of a person was deleted."""

    rows: int
    clips: int
    n_bytes: int


@dataclass(frozen=True)
class RetentionLimits:
    """Limits of age and size; 0 is none."""

    days: float
    max_recordings_bytes: int


@dataclass(frozen=True)
class RetentionResult:
    """What was deleted: recordings by age and for room, their bytes, and rows of labels."""

    expired: int = 0
    evicted: int = 0
    n_bytes: int = 0
    labels: int = 0

    def __bool__(self) -> bool:
        return bool(self.expired or self.evicted or self.labels)
