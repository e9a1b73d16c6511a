"""Feedback in a running service: ids for answers, recordings to keep, and calls to the database.

Nothing here is slow on the event loop, and no call outlasts its request's deadline. The database
is opened when it is first needed; what can be wrong with it is found at the start.
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
from earful.service.core.errors import RequestError
from earful.service.core.metrics import Metrics
from earful.service.core.request_log import log
from earful.service.core.settings import Settings
from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database_url import Place
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.recordings import Keeper, Recordings, kept_clip, margin_of
from earful.service.feedback.records import (
    Deleted,
    KeptClip,
    Opinion,
    PersonsData,
    Retention,
    ReviewPage,
    Stored,
)
from earful.service.feedback.startup import usable
from earful.service.inference.hot_reload import Served
from earful.service.inference.job_queue import QUICK_BYTES, Answer

if TYPE_CHECKING:
    from earful.service.feedback.database import Store

T = TypeVar("T")
# An answer with a smaller margin (``keeper.margin_of``) is a doubt.
UNCERTAIN_MARGIN = 0.2
SWEEP_SECONDS = 60.0
MEND_SECONDS = 86_400.0
_THREADS = 4


class Desk:
    """``note`` answers to classify; the other calls are those of the routes of feedback."""

    def __init__(self, settings: Settings, place: Place, metrics: Metrics) -> None:
        self._settings = settings
        self.place, self.policy = place, settings.keep_audio
        self.audio = AudioStore(settings.audio_dir)
        self._limits = Retention(settings.retention_days, settings.max_audio_bytes)
        self._metrics = metrics
        self._opening = threading.Lock()
        self._opened: Store | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "feedback")
        self._sweeper: asyncio.Task[None] | None = None
        self._keeper: Keeper | None = None

    def open(self) -> None:
        """See that the database and the folder can be used; blocks.

        Raises:
            FeedbackError: they cannot.
        """
        self.ids, self._opened = usable(self._settings, self.place)
        if self.policy in ("uncertain", "all"):
            self._keeper = Keeper(self._keep, self._metrics)

    def start(self) -> None:
        """Begin to sweep; on the event loop."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """End when all that was taken is stored."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    async def note(
        self,
        results: Sequence[dict[str, Any]],
        blobs: Sequence[bytes],
        answers: Sequence[Answer],
        served: Served,
    ) -> None:
        """Add a ``prediction_id`` to each result, and keep the recordings that are to be kept."""
        digests = await self._digests(blobs)
        name, version = served.info["name"], served.info["version"]
        for result, blob, digest, answer in zip(results, blobs, digests, answers, strict=True):
            if isinstance(answer, Prediction):
                result["prediction_id"] = self.ids.sign(
                    digest, answer.label, answer.score, name, version
                )
                if self._keeper is not None and self._wanted(answer, served):
                    self._keeper.offer(kept_clip(digest.hex(), blob, answer, served), blob)

    async def take(
        self, opinion: Opinion, recording: tuple[KeptClip, bytes] | None, deadline: float
    ) -> Stored:
        """Store an opinion, and its recording where the operator keeps them.

        Raises:
            RequestError: ``feedback_unavailable``.
            KeyReused: the request's key came before with another opinion.
        """

        def work(store: "Store") -> Stored:
            from earful.service.feedback.annotations import add
            from earful.service.feedback.recording_rows import keep

            with store.writing(opinion.who) as connection:
                stored = add(connection, opinion)
                if recording is None or self.policy == "off":
                    return stored
                keep(connection, store, self.audio, {opinion.sha256: recording})
                return replace(stored, audio_kept=True)

        stored = await self.run(work, deadline)
        if not stored.repeated:
            self._metrics.feedback.inc()
        return stored

    async def next_clips(self, who: str, limit: int, after: str, deadline: float) -> ReviewPage:
        """As ``service.feedback.review.next_clips``."""

        def work(store: "Store") -> ReviewPage:
            from earful.service.feedback.review import next_clips

            return next_clips(store, who, limit, after)

        return await self.run(work, deadline)

    async def find(self, sha256: str, deadline: float) -> KeptClip | None:
        """As ``service.feedback.recording_rows.find``."""

        def work(store: "Store") -> KeptClip | None:
            from earful.service.feedback.recording_rows import find

            return find(store, sha256)

        return await self.run(work, deadline)

    async def data_of(self, key: str, deadline: float) -> PersonsData:
        """As ``service.feedback.privacy.data_of``."""

        def work(store: "Store") -> PersonsData:
            from earful.service.feedback.privacy import data_of

            return data_of(store, key)

        return await self.run(work, deadline)

    async def delete_person(self, key: str, deadline: float) -> Deleted:
        """As ``service.feedback.privacy.delete_person``; the log says how much, and not whose."""

        def work(store: "Store") -> Deleted:
            from earful.service.feedback.privacy import delete_person

            return delete_person(store, self.audio, key)

        deleted = await self.run(work, deadline)
        log(logging.INFO, "person_deleted", asdict(deleted))
        return deleted

    def _wanted(self, answer: Prediction, served: Served) -> bool:
        if self.policy == "all":
            return True
        metadata = served.classifier.metadata
        margin = margin_of(answer.best.scores, metadata.scores)
        return answer.top_score < metadata.rejection_threshold or margin < UNCERTAIN_MARGIN

    async def _digests(self, blobs: Sequence[bytes]) -> list[bytes]:
        if sum(map(len, blobs)) <= QUICK_BYTES:
            return [hashlib.sha256(blob).digest() for blob in blobs]
        return await asyncio.to_thread(lambda: [hashlib.sha256(blob).digest() for blob in blobs])

    async def run(self, work: "Callable[[Store], T]", deadline: float) -> T:
        """Call ``work`` with the database on a thread.

        ``deadline`` is a time of ``time.monotonic``. What has begun by then may end all the same,
        so that ``work`` must bear being done twice.

        Raises:
            RequestError: ``feedback_unavailable``.
        """
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: work(self._store())
        )
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await future
        except TimeoutError as error:
            raise _unavailable("the database of feedback gave no answer in time") from error
        except FeedbackError as error:
            log(logging.ERROR, "feedback_unavailable", {"reason": str(error)})
            raise _unavailable("the database of feedback is busy or away") from error

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._sweep_once)
            except (FeedbackError, OSError) as error:
                log(logging.ERROR, "feedback_not_swept", {"reason": str(error)})

    # On threads from here on.

    def _store(self) -> "Store":
        from earful.service.feedback.database import open_store

        with self._opening:
            if self._opened is None:
                self._opened = open_store(self.place)
            return self._opened

    def _keep(self, recordings: Recordings) -> None:
        from earful.service.feedback.recording_rows import keep

        store = self._store()
        with store.writing() as connection:
            keep(connection, store, self.audio, recordings, durable=False)

    def _sweep_once(self) -> None:
        from earful.service.feedback.recording_rows import mend
        from earful.service.feedback.retention import sweep

        store, now = self._store(), time.time()
        if store.claim("swept", now, 0.9 * SWEEP_SECONDS):
            swept = sweep(store, self.audio, self._limits)
            if swept:
                log(logging.INFO, "feedback_swept", asdict(swept))
        if store.claim("mended", now, MEND_SECONDS):
            mend(store, self.audio)

    def _end(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
        self._threads.shutdown()
        if self._opened is not None:
            self._opened.close()


async def open_desk(settings: Settings, metrics: Metrics) -> Desk | None:
    """The desk that the settings ask for; None where feedback is off.

    Where nobody asked for it, and the default place cannot be used, it is off with a warning.

    Raises:
        FeedbackError: a place that was asked for cannot be used.
    """
    url = settings.database_url()
    if url is None:
        return None
    try:
        desk = Desk(settings, Place.parse(url), metrics)
        await asyncio.to_thread(desk.open)
    except FeedbackError as error:
        if settings.wants_feedback:
            raise
        log(logging.WARNING, "feedback_off", {"reason": str(error)})
        return None
    desk.start()
    log(logging.INFO, "feedback_on", {"database": str(desk.place), "keep_audio": desk.policy})
    return desk


def _unavailable(message: str) -> RequestError:
    return RequestError("feedback_unavailable", f"{message}; try again", {"Retry-After": "1"})
