"""The served model: loaded, checked and warm before it answers; replaced when its file changes.

A new file is opened, checked against its golden example and warmed beside the old one, which then
hands over between two requests. A file that fails leaves the old model serving, and ``problem``
says why. Requests that began with the old model end with it.
"""

import asyncio
import ctypes
import logging
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from data.errors import EarshotError
from models.device import Device
from service.classifier import Classifier
from service.metrics import Metrics
from service.observe import log

WATCH_SECONDS = 1.0
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Served:
    """A model in service, and what answers say of it."""

    classifier: Classifier
    info: dict[str, str]


class ModelHost:
    """``current`` is the model that answers; None until ``load`` has ended."""

    def __init__(self, path: Path, device: Device, reject: bool, metrics: Metrics) -> None:
        self._path, self._device, self._reject = path, device, reject
        self._metrics = metrics
        self._stamp: _Stamp | None = None
        self.current: Served | None = None
        self.problem: str | None = None

    async def load(self) -> None:
        """Load the model for the first time.

        Raises:
            ModelError: it cannot be used.
        """
        self._stamp = _stamp(self._path)
        self._serve(await run_in_threadpool(self._open))

    async def watch(self) -> None:
        """Reload whenever the file, or what a link leads to, is another; never returns."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            stamp = await run_in_threadpool(_stamp, self._path)
            # A file that is being written changes from look to look: it is left to settle.
            if stamp != self._stamp and stamp == await self._look_again():
                self._stamp = stamp
                if stamp is None:
                    self._keep(f"{self._path} is no regular file any more")
                else:
                    await self._reload()

    async def _look_again(self) -> _Stamp | None:
        await asyncio.sleep(WATCH_SECONDS / 4)
        return await run_in_threadpool(_stamp, self._path)

    async def _reload(self) -> None:
        try:
            served = await run_in_threadpool(self._open)
        except (EarshotError, OSError, MemoryError) as error:
            self._keep(str(error))
            return
        self._metrics.reloads.labels("done").inc()
        self._serve(served)
        await run_in_threadpool(_give_memory_back)

    def _keep(self, reason: str) -> None:
        """The model serves on, since there is no other."""
        self.problem = reason
        self._metrics.reloads.labels("failed").inc()
        kept = self.current.info["version"] if self.current else None
        log(logging.ERROR, "model_reload_failed", {"reason": reason, "still_serving": kept})

    def _open(self) -> Served:
        classifier = Classifier.open(self._path, self._device, reject=self._reject)
        for batch in (1, 2, 8, 32):  # memory of all sizes is planned before the first request
            golden = classifier.metadata.golden.input()
            classifier.run(golden.repeat(batch, axis=0))
        return Served(classifier, model_info(classifier))

    def _serve(self, served: Served) -> None:
        if self.current is not None:
            self._metrics.model_info.labels(*_labels(self.current)).set(0)
        self._metrics.model_info.labels(*_labels(served)).set(1)
        self.current, self.problem = served, None
        log(logging.INFO, "model_serving", served.info)


def model_info(classifier: Classifier) -> dict[str, str]:
    """What answers say of the model: its name, version (of the file's hash), network and age."""
    metadata = classifier.metadata
    return {
        "name": classifier.bundle.path.stem,
        "version": classifier.bundle.sha256[:12],
        "architecture": metadata.architecture["name"],
        "created": metadata.created,
    }


def _labels(served: Served) -> tuple[Any, ...]:
    info = served.info
    return info["name"], info["version"], info["architecture"], served.classifier.bundle.provider


def _give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps that of each session, a megabyte a reload."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file is written or replaced; None while there is no regular one."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, for ever
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
