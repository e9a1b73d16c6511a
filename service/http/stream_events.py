"""The events of an endless stream, scored in the batches that all requests share."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import numpy as np

from earful.data.audio.decode import Waveform
from earful.models.bundle.event_options import EventOptions
from earful.service.classifier import Prediction
from earful.service.core.errors import RequestError
from earful.service.events import Event, EventDetector, PendingEvent
from earful.service.http.app_state import Service
from earful.service.inference.hot_reload import LoadedModel

_RETRY_SECONDS = 0.05


class StreamEvents:
    """Samples of one stream in, its events out, each as soon as it is decided."""

    def __init__(self, service: Service, loaded_model: LoadedModel, options: EventOptions) -> None:
        self._service, self._model = service, loaded_model
        self._detector = EventDetector(loaded_model.classifier, options)

    async def feed(self, samples: Waveform) -> AsyncIterator[Event]:
        """The events that the next samples (samples,) at the model's rate decide.

        Raises:
            RequestError: the service cannot score them.
        """
        async for event in self._score(self._detector.feed(samples)):
            yield event

    async def finish(self) -> AsyncIterator[Event]:
        """The events that the end of the audio decides.

        Raises:
            RequestError: the service cannot score them.
        """
        async for event in self._score(self._detector.end_of_audio()):
            yield event
        for event in self._detector.finish():
            yield self._count(event)

    async def _score(self, pending: Iterable[PendingEvent]) -> AsyncIterator[Event]:
        for entry in pending:
            predictions = await self.classify(list(entry.clips))
            scores = np.stack([prediction.best.scores for prediction in predictions])
            for event in self._detector.add(entry, scores):
                yield self._count(event)

    def _count(self, event: Event) -> Event:
        self._service.metrics.events.inc()
        return event

    async def classify(self, windows: Sequence[Waveform]) -> list[Prediction]:
        """Classify windows, waiting for room in the queue, so that load does not end a stream.

        Raises:
            RequestError: there was no room until the deadline, or the model fails.
        """
        deadline = self._service.deadline()
        while True:
            try:
                return await self._service.predict(windows, self._model, deadline)
            except RequestError as error:
                if error.code != "queue_full" or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)
