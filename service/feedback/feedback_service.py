"""Feedback in the running service: prediction ids, saved recordings, database calls on threads.

Nothing blocks the event loop, and no call exceeds its request's deadline. The database is checked
at the start and opened when it is first needed.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from earful.service.classifier import Prediction
from earful.service.core.background import BackgroundTask
from earful.service.core.errors import RequestError
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log
from earful.service.core.settings import MAX_WHOLE_BYTES, MAX_WHOLE_SECONDS, Settings
from earful.service.core.spooled_file import SpooledFile
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.recordings import (
    RecordingBatch,
    RecordingWriter,
    score_margin,
    to_stored_recording,
)
from earful.service.feedback.records import (
    ErasureResult,
    FeedbackAnnotation,
    RetentionLimits,
    ReviewPage,
    StoredRecording,
    SubjectData,
    SubmitResult,
    TooManyLabels,
)
from earful.service.feedback.schema import open_database_and_ids
from earful.service.inference.hot_reload import LoadedModel
from earful.service.inference.job_queue import INLINE_DECODE_BYTES, InferenceOutcome

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase

T = TypeVar("T")
# A prediction with a smaller margin (``recordings.score_margin``) is uncertain.
UNCERTAIN_MARGIN = 0.2
RETENTION_INTERVAL_SECONDS = 60.0
ORPHAN_CHECK_INTERVAL_SECONDS = 86_400.0
_THREADS = 4


class FeedbackService:
    """``add_prediction_ids`` serves the classify routes; the other calls serve feedback routes."""

    def __init__(
        self, settings: Settings, address: DatabaseAddress, metrics: ServiceMetrics
    ) -> None:
        self._settings = settings
        self.address, self.save_policy = address, settings.save_recordings
        self.recording_store = RecordingStore(settings.recordings_dir)
        self._limits = RetentionLimits(settings.retention_days, settings.max_recordings_bytes)
        self._metrics = metrics
        self._open_lock = threading.Lock()
        self._database: FeedbackDatabase | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "feedback")
        self._retention = BackgroundTask(
            "feedback_retention", self._apply_retention, metrics, RETENTION_INTERVAL_SECONDS
        )
        self._recording_writer: RecordingWriter | None = None

    def open(self) -> None:
        """Check the database and the recordings folder; blocks.

        Raises:
            FeedbackError: one of them cannot be used.
        """
        self.ids, self._database = open_database_and_ids(self._settings, self.address)
        if self.save_policy in ("uncertain", "all"):
            self._recording_writer = RecordingWriter(self._store_recordings, self._metrics)

    def start(self) -> None:
        """Start the periodic retention; call on the event loop."""
        self._retention.start()

    async def close(self) -> None:
        """Store everything that is queued, then close."""
        self._retention.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._shut_down)

    async def add_prediction_ids(
        self,
        results: Sequence[dict[str, Any]],
        contents: Sequence[bytes | SpooledFile],
        outcomes: Sequence[InferenceOutcome],
        loaded_model: LoadedModel,
    ) -> None:
        """Add a ``prediction_id`` to each result; queue recordings that the policy saves."""
        sha256_digests = await self._digests(contents)
        name, version = loaded_model.info["name"], loaded_model.info["version"]
        for result, content, digest, outcome in zip(
            results, contents, sha256_digests, outcomes, strict=True
        ):
            if isinstance(outcome, Prediction):
                result["prediction_id"] = self.ids.sign(
                    digest, outcome.label, outcome.score, name, version
                )
                if self._recording_writer is not None and self._should_save(outcome, loaded_model):
                    await self._save(self._recording_writer, content, digest, outcome, loaded_model)

    async def _save(
        self,
        writer: RecordingWriter,
        content: bytes | SpooledFile,
        digest: bytes,
        outcome: Prediction,
        loaded_model: LoadedModel,
    ) -> None:
        """Queue a recording to be saved; a long or large one is not saved."""
        n_bytes = len(content) if isinstance(content, bytes) else content.n_bytes
        if outcome.seconds > MAX_WHOLE_SECONDS or n_bytes > MAX_WHOLE_BYTES:
            self._metrics.recordings_saved.labels("too_long").inc()
            return
        blob = content if isinstance(content, bytes) else await asyncio.to_thread(content.read)
        writer.enqueue(to_stored_recording(digest.hex(), blob, outcome, loaded_model), blob)

    async def submit_feedback(
        self,
        annotation: FeedbackAnnotation,
        recording: tuple[StoredRecording, bytes] | None,
        deadline: float,
    ) -> SubmitResult:
        """Store an annotation, and its recording unless ``save_recordings`` is ``off``.

        Raises:
            RequestError: ``feedback_unavailable``, or ``too_many_labels`` of one sender.
            IdempotencyKeyReused: the key was used before, with another annotation.
        """
        max_per_hour = self._settings.max_labels_per_hour

        def query(database: "FeedbackDatabase") -> SubmitResult:
            from earful.service.feedback.annotations import add_annotation
            from earful.service.feedback.recording_rows import store_recordings

            with database.write_transaction(annotation.annotator) as connection:
                result = add_annotation(connection, annotation, max_per_hour)
                if recording is None or self.save_policy == "off":
                    return result
                store_recordings(
                    connection, database, self.recording_store, {annotation.sha256: recording}
                )
                return replace(result, recording_saved=True)

        try:
            result = await self.run(query, deadline)
        except TooManyLabels as error:
            raise RequestError(
                "too_many_labels",
                f"one sender (a key, without keys an address) may give {max_per_hour} labels an "
                f"hour (EARFUL_MAX_LABELS_PER_HOUR); wait {error.retry_seconds} s",
                {"Retry-After": str(error.retry_seconds)},
            ) from error
        if not result.duplicate:
            self._metrics.feedback.inc()
        return result

    async def next_clips(
        self, annotator: str, limit: int, cursor: str, deadline: float
    ) -> ReviewPage:
        """``feedback.review.next_clips`` on a thread."""

        def query(database: "FeedbackDatabase") -> ReviewPage:
            from earful.service.feedback.review import next_clips

            return next_clips(database, annotator, limit, cursor)

        return await self.run(query, deadline)

    async def find_recording(self, sha256: str, deadline: float) -> StoredRecording | None:
        """``feedback.recording_rows.find_recording`` on a thread."""

        def query(database: "FeedbackDatabase") -> StoredRecording | None:
            from earful.service.feedback.recording_rows import find_recording

            return find_recording(database, sha256)

        return await self.run(query, deadline)

    async def export_subject_data(self, key: str, deadline: float) -> SubjectData:
        """``feedback.privacy.export_subject_data`` on a thread."""

        def query(database: "FeedbackDatabase") -> SubjectData:
            from earful.service.feedback.privacy import export_subject_data

            return export_subject_data(database, key)

        return await self.run(query, deadline)

    async def erase_subject(self, key: str, deadline: float) -> ErasureResult:
        """``feedback.privacy.erase_subject`` on a thread; logs how much, not the key."""

        def query(database: "FeedbackDatabase") -> ErasureResult:
            from earful.service.feedback.privacy import erase_subject

            return erase_subject(database, self.recording_store, key)

        deleted = await self.run(query, deadline)
        log(logging.INFO, "subject_erased", asdict(deleted))
        return deleted

    def _should_save(self, outcome: Prediction, loaded_model: LoadedModel) -> bool:
        if self.save_policy == "all":
            return True
        metadata = loaded_model.classifier.metadata
        margin = score_margin(outcome.best.scores, metadata.score_kind)
        return outcome.top_score < metadata.rejection_threshold or margin < UNCERTAIN_MARGIN

    async def _digests(self, contents: Sequence[bytes | SpooledFile]) -> list[bytes]:
        def digests() -> list[bytes]:
            return [
                hashlib.sha256(content).digest() if isinstance(content, bytes) else content.digest
                for content in contents
            ]

        n_bytes = sum(len(content) for content in contents if isinstance(content, bytes))
        return digests() if n_bytes <= INLINE_DECODE_BYTES else await asyncio.to_thread(digests)

    async def run(self, query: "Callable[[FeedbackDatabase], T]", deadline: float) -> T:
        """Run ``query`` with the database on a thread.

        ``deadline`` is a time of ``time.monotonic``. A query that has started may still complete
        after it, so ``query`` must be idempotent.

        Raises:
            RequestError: ``feedback_unavailable``.
        """
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: query(self.get_database())
        )
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await future
        except TimeoutError as error:
            raise _unavailable("the feedback database did not respond in time") from error
        except FeedbackError as error:
            log(logging.ERROR, "feedback_unavailable", {"reason": str(error)})
            raise _unavailable("the feedback database is busy or unreachable") from error

    async def _apply_retention(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._apply_retention_once)

    # The methods below run on threads.

    def get_database(self) -> "FeedbackDatabase":
        """The database, opened when it is first needed; blocks.

        Raises:
            FeedbackError: it cannot be used.
        """
        from earful.service.feedback.database import open_database

        with self._open_lock:
            if self._database is None:
                self._database = open_database(self.address)
            return self._database

    def _store_recordings(self, recordings: RecordingBatch) -> None:
        from earful.service.feedback.recording_rows import store_recordings

        database = self.get_database()
        with database.write_transaction() as connection:
            store_recordings(connection, database, self.recording_store, recordings, durable=False)

    def _apply_retention_once(self) -> None:
        from earful.service.feedback.recording_rows import delete_orphan_files
        from earful.service.feedback.retention import apply_retention

        database, now = self.get_database(), time.time()
        if database.claim_turn("retention", now, 0.9 * RETENTION_INTERVAL_SECONDS):
            cleaned = apply_retention(database, self.recording_store, self._limits)
            if cleaned:
                log(logging.INFO, "feedback_cleaned", asdict(cleaned))
        if database.claim_turn("orphan_check", now, ORPHAN_CHECK_INTERVAL_SECONDS):
            delete_orphan_files(database, self.recording_store)

    def _shut_down(self) -> None:
        if self._recording_writer is not None:
            self._recording_writer.stop()
        self._threads.shutdown()
        if self._database is not None:
            self._database.close()


async def open_feedback_service(
    settings: Settings, metrics: ServiceMetrics
) -> FeedbackService | None:
    """Open feedback as configured; None when it is off.

    If the default database cannot be used, feedback is off with a warning in the log.

    Raises:
        FeedbackError: a configured database cannot be used.
    """
    url = settings.database_url()
    if url is None:
        return None
    try:
        feedback_service = FeedbackService(settings, DatabaseAddress.parse(url), metrics)
        await asyncio.to_thread(feedback_service.open)
    except FeedbackError as error:
        if settings.wants_feedback:
            raise
        log(logging.WARNING, "feedback_off", {"reason": str(error)})
        return None
    feedback_service.start()
    database, save_policy = str(feedback_service.address), feedback_service.save_policy
    log(logging.INFO, "feedback_on", {"database": database, "save_recordings": save_policy})
    return feedback_service


def _unavailable(message: str) -> RequestError:
    return RequestError("feedback_unavailable", f"{message}; try again", {"Retry-After": "1"})
