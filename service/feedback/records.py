"""Records that go into the feedback database and come out of it; imports no SQLAlchemy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from earful.service.feedback.prediction_ids import PredictionRecord


@dataclass(frozen=True)
class StoredRecording:
    """A saved recording with the model's prediction.

    ``sha256`` is the hash of the file's bytes, ``suffix`` a key of ``audio_files.MEDIA_TYPES``, and
    ``margin`` the difference of the two best scores.
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
    """The label that an annotator gives a recording; ``label`` None withdraws their last one.

    sha256           hash of the recording's bytes
    source           ``api``, ``page``, ``review`` or a tool's name
    prediction       the prediction that was corrected or confirmed, if known
    idempotency_key  the client's name for the request: a repeated one is stored once
    sender           ``PredictionIds.pseudonym`` of the key or the address that it came from
    """

    sha256: str
    label: str | None
    annotator: str
    speaker: str = ""
    comment: str = ""
    source: str = "api"
    prediction: PredictionRecord | None = None
    idempotency_key: str | None = None
    sender: str = ""


@dataclass(frozen=True)
class SubmitResult:
    """The row of an annotation; ``duplicate`` when it was stored before."""

    id: int
    sha256: str
    duplicate: bool
    recording_saved: bool


class IdempotencyKeyReused(ValueError):  # noqa: N818 - names the state
    """The idempotency key was used before, with another annotation."""


class TooManyLabels(ValueError):  # noqa: N818 - names the state
    """The sender has given as many labels as it may; it may again after ``retry_seconds``."""

    def __init__(self, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(f"too many labels of one sender; wait {retry_seconds} s")


@dataclass(frozen=True)
class ReviewItem:
    """A clip to label.

    ``rank`` is ``review.DISPUTED``, ``UNLABELLED`` or ``AGREED``; ``label_counts`` gives the number
    of annotators for each label.
    """

    clip: StoredRecording
    rank: int
    label_counts: dict[str, int]


@dataclass(frozen=True)
class ReviewPage:
    """A page of clips to label.

    cursor     requests the next page; empty on the last one
    remaining  number of clips that this annotator has not labelled
    labelled   number of clips that this annotator has labelled
    labels     all labels that anybody has given
    """

    items: tuple[ReviewItem, ...]
    cursor: str
    remaining: int
    labelled: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SubjectData:
    """Annotations that name a person as annotator or speaker, and their recordings."""

    annotations: tuple[dict[str, Any], ...]
    clips: tuple[dict[str, Any], ...]

    def as_json(self, key: str, locate: Callable[[str, str], str]) -> dict[str, Any]:
        """The data as JSON; ``locate`` (sha256, suffix) gives the ``audio`` of each recording."""
        clips = [{**clip, "audio": locate(clip["sha256"], clip["suffix"])} for clip in self.clips]
        return {"key": key, "annotations": list(self.annotations), "recordings": clips}


@dataclass(frozen=True)
class ErasureResult:
    """How much of a person's data was deleted."""

    rows: int
    clips: int
    n_bytes: int


@dataclass(frozen=True)
class RetentionLimits:
    """Limits of age and size; 0 means no limit."""

    days: float
    max_recordings_bytes: int


@dataclass(frozen=True)
class RetentionResult:
    """What was deleted.

    expired  recordings older than the limit
    evicted  recordings deleted to stay below the size limit
    n_bytes  size of both
    labels   annotations older than the limit
    """

    expired: int = 0
    evicted: int = 0
    n_bytes: int = 0
    labels: int = 0

    def __bool__(self) -> bool:
        return bool(self.expired or self.evicted or self.labels)
