"""Recordings longer than 1.5 clips: read block by block, with one label and all events.

Each is read and searched on a thread; its windows are run by the inference thread, in between the
batches of short files. Recordings of up to a minute do not wait for longer ones.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from earful.data.audio.decode import AudioError
from earful.service.classifier import Classifier
from earful.service.core.errors import RequestError
from earful.service.core.settings import MAX_WHOLE_SECONDS, Settings
from earful.service.inference.micro_batcher import MicroBatcher
from earful.service.inference.recording import Recording, Source
from earful.service.inference.recording_analysis import Analysis, Cancelled, RecordingOutcome

# Threads for recordings of up to a minute; the number of others is a setting.
_SHORT_THREADS = 2
# While short files are served, its reader rests this long per quarter of a second of audio.
_REST_SECONDS = 0.002


class LongRecordings:
    """Classifies the long recordings of a service."""

    def __init__(self, settings: Settings, batcher: MicroBatcher) -> None:
        self._limits, self._max_queue = settings.audio_limits(), settings.max_queue
        self._seconds_per_audio_second = settings.deadline_per_audio_second
        self._short_threads = ThreadPoolExecutor(_SHORT_THREADS, "recording")
        self._long_threads = ThreadPoolExecutor(settings.max_long_recordings, "long-recording")
        self._batcher = batcher
        self._cancels: set[threading.Event] = set()
        self._refused = False

    async def classify(
        self, source: Source, classifier: Classifier, deadline: float, *, windows: bool
    ) -> RecordingOutcome:
        """The prediction and events of a recording, or its error.

        ``deadline`` is that of a short file; the recording's seconds are added. With ``windows``
        the prediction has all windows. When cancelled, the work stops.

        Raises:
            RequestError: ``queue_full``, ``deadline_passed``, ``draining`` or ``disk_full``.
        """
        if self.in_progress >= self._max_queue:
            raise RequestError(
                "queue_full", "too many long recordings; try again in 10 s", {"Retry-After": "10"}
            )
        recording = Recording(
            source,
            classifier.sample_rate_hz,
            self._limits,
            lambda: self._batcher.is_busy,
            _REST_SECONDS,
        )
        cancelled = threading.Event()
        self._cancels.add(cancelled)
        try:
            seconds = await asyncio.to_thread(recording.seconds)
            is_long = seconds is None or seconds > MAX_WHOLE_SECONDS
            if is_long and self._refused:
                raise _draining()
            deadline += self._seconds_per_audio_second * (seconds or self._limits.max_seconds)
            analysis = Analysis(recording, classifier, self._batcher.background, cancelled)
            threads = self._long_threads if is_long else self._short_threads
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.get_running_loop().run_in_executor(
                    threads, analysis.outcome, windows
                )
        except AudioError as error:
            return RecordingOutcome(error, None)
        except TimeoutError as error:
            raise RequestError(
                "deadline_passed", "not finished before the deadline; send fewer or shorter files"
            ) from error
        except Cancelled as error:
            raise _draining() from error
        finally:
            cancelled.set()
            self._cancels.discard(cancelled)

    @property
    def in_progress(self) -> int:
        """The number of recordings, waiting ones included."""
        return len(self._cancels)

    def refuse(self) -> None:
        """Accept no more recordings over a minute: they would not end before the shutdown."""
        self._refused = True

    def stop(self) -> None:
        """End all recordings in progress with the error ``draining``."""
        self._refused = True
        for cancelled in self._cancels:
            cancelled.set()

    def close(self) -> None:
        """Stop, and let the threads end."""
        self.stop()
        for threads in (self._short_threads, self._long_threads):
            threads.shutdown(wait=False, cancel_futures=True)


def _draining() -> RequestError:
    return RequestError("draining", "the service is shutting down; use another instance")
