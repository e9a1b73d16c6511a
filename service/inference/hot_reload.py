"""The served model: loaded, checked and warm before it answers; replaced when another is there.

That is a file that was written anew, or an alias of the registry that was moved. The new model is
opened, checked against its golden example and warmed beside the old one, which then hands over
between two requests. One that fails leaves the old model serving, and ``problem`` says why.
Requests that began with the old model end with it.
"""

import asyncio
import ctypes
import logging
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from earful.data.errors import EarfulError
from earful.models.bundle.device import Device
from earful.models.registry.errors import RegistryError
from earful.models.registry.source import Found, Missing, ModelSource
from earful.service.classifier import Classifier
from earful.service.core.metrics import Metrics
from earful.service.core.request_log import log

WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Served:
    """A model in service, and what answers say of it."""

    classifier: Classifier
    info: dict[str, str]


class ModelHost:
    """``current`` is the model that answers; None until ``load`` has ended."""

    def __init__(self, source: ModelSource, device: Device, reject: bool, metrics: Metrics) -> None:
        self.source, self._device, self._reject = source, device, reject
        self._metrics = metrics
        self._stamp: Hashable = None
        self.current: Served | None = None
        self.problem: str | None = None

    async def load(self) -> None:
        """Load the model for the first time.

        Raises:
            ModelError: it cannot be used.
        """
        self._stamp = await run_in_threadpool(self.source.stamp)
        self._serve(await run_in_threadpool(self._open))

    async def watch(self) -> None:
        """Reload whenever another model is there; never returns."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            stamp = await run_in_threadpool(self.source.stamp)
            # A file that is being written changes from look to look: it is left to settle.
            if stamp != self._stamp and stamp == await self._look_again():
                self._stamp = stamp
                if isinstance(stamp, Missing):
                    self._keep(stamp.reason)
                else:
                    await self._reload()

    async def _look_again(self) -> Hashable:
        await asyncio.sleep(WATCH_SECONDS / 4)
        return await run_in_threadpool(self.source.stamp)

    async def _reload(self) -> None:
        try:
            served = await run_in_threadpool(self._open)
        except (EarfulError, OSError, MemoryError) as error:
            self._keep(str(error))
            if isinstance(error, RegistryError):  # it may be there again in a moment
                self._stamp = None
            return
        self._metrics.reloads.labels("done").inc()
        self._serve(served)
        await run_in_threadpool(_give_memory_back)

    def _keep(self, reason: str) -> None:
        """The model serves on, since there is no other."""
        if reason == self.problem:
            return
        self.problem = reason
        self._metrics.reloads.labels("failed").inc()
        kept = self.current.info["version"] if self.current else None
        log(logging.ERROR, "model_reload_failed", {"reason": reason, "still_serving": kept})

    def _open(self) -> Served:
        found = self.source.find()
        classifier = Classifier.open(found.path, self._device, reject=self._reject)
        for batch in (1, 2, 8, 32):  # memory of all sizes is planned before the first request
            golden = classifier.metadata.golden.input()
            classifier.run(golden.repeat(batch, axis=0))
        return Served(classifier, model_info(classifier, found))

    def _serve(self, served: Served) -> None:
        if self.current is not None:
            self._metrics.model_info.labels(*_labels(self.current)).set(0)
        self._metrics.model_info.labels(*_labels(served)).set(1)
        self.current, self.problem = served, None
        log(logging.INFO, "model_serving", served.info)


def model_info(classifier: Classifier, found: Found) -> dict[str, str]:
    """What answers say of the model: its name, version (of the file's hash), network, age and how
    its scores are to be read.

    A model of the registry has its number there besides, as ``release``.
    """
    metadata = classifier.metadata
    release = {} if found.number is None else {"release": str(found.number)}
    return {
        "name": found.name,
        **release,
        "version": classifier.bundle.sha256[:12],
        "architecture": metadata.architecture["name"],
        "created": metadata.created,
        "scores": metadata.scores,
    }


def _labels(served: Served) -> tuple[Any, ...]:
    info = served.info
    return info["name"], info["version"], info["architecture"], served.classifier.bundle.provider


def _give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps that of each session, a megabyte a reload."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
