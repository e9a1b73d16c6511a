"""The served model: loaded, checked and warmed up before it serves, reloaded when it changes.

A change is a rewritten file or a moved alias of the registry. The new model is opened, checked
against its golden example and warmed up while the old one serves; then it takes over. If it fails,
the old model keeps serving and ``reload_error`` says why. Requests that started with the old model
finish with it. While the place of the model cannot be read at all, ``watcher.health.reason`` says
why: the model that serves is kept, and reading is tried again.
"""

import asyncio
import ctypes
import logging
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelError, ModelUnreadable
from earful.models.bundle.trial import try_model
from earful.models.registry.source import ModelMissing, ModelSource, ResolvedModel
from earful.service.classifier import Classifier, InferenceError
from earful.service.core.background import BackgroundTask, call_in_daemon_thread
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log
from earful.service.inference.job_queue import max_batch

POLL_SECONDS = 1.0
_WARM_UP_BATCHES = (1, 2, 8)


@dataclass(frozen=True)
class LoadedModel:
    """A served model, and its description in responses."""

    classifier: Classifier
    info: dict[str, str]


class ModelReloader:
    """``current`` is the served model; None until ``load`` has finished."""

    def __init__(
        self, source: ModelSource, device: Device, reject: bool, metrics: ServiceMetrics
    ) -> None:
        self.source, self._device, self._reject = source, device, reject
        self._metrics = metrics
        self._change_tag: Hashable = None
        self.watcher = BackgroundTask("model_watcher", self._check, metrics, POLL_SECONDS)
        self.current: LoadedModel | None = None
        self.reload_error: str | None = None

    async def load(self) -> None:
        """Load the model for the first time.

        Raises:
            ModelError: it cannot be used.
        """
        self._change_tag = await call_in_daemon_thread(self.source.change_tag)
        resolved = await call_in_daemon_thread(self.source.resolve)
        self._activate(await call_in_daemon_thread(lambda: self._load_model(resolved)))

    async def _check(self) -> None:
        """Reload the model if it has changed.

        Raises:
            Exception: any that the store of the model gives; the watcher tries again.
        """
        change_tag = await call_in_daemon_thread(self.source.change_tag)
        # A file that is still being written differs at a second look; it is loaded once stable.
        if change_tag == self._change_tag or change_tag != await self._stable_tag():
            return
        if isinstance(change_tag, ModelMissing):
            self._keep_current(change_tag.reason)
        else:
            await self._reload()
        self._change_tag = change_tag

    async def _stable_tag(self) -> Hashable:
        await asyncio.sleep(POLL_SECONDS / 4)
        return await call_in_daemon_thread(self.source.change_tag)

    async def _reload(self) -> None:
        """Load the model as it is now; of one that is unusable the current one is kept.

        Raises:
            Exception: the model could not be read, which may be temporary.
        """
        try:
            loaded_model = await call_in_daemon_thread(self._try_and_load)
        except Exception as error:  # whatever it is, what serves goes on; raised again below
            self._keep_current(str(error) or type(error).__name__)
            unusable = isinstance(error, ModelError | InferenceError)
            if unusable and not isinstance(error, ModelUnreadable):
                return  # the same file would fail again
            # Loaded again even if the store goes back to the model that serves: that clears the
            # error.
            self._change_tag = None
            raise
        self._metrics.reloads.labels("done").inc()
        self._activate(loaded_model)
        await call_in_daemon_thread(_release_memory)

    def _try_and_load(self) -> LoadedModel:
        """Load a model that others may have changed; a hostile one ends a child process only."""
        resolved = self.source.resolve()
        sha256 = try_model(resolved.path, _WARM_UP_BATCHES)
        return self._load_model(resolved, sha256)

    def _keep_current(self, reason: str) -> None:
        """Keep serving the current model, and report the reason once."""
        if reason == self.reload_error:
            return
        self.reload_error = reason
        self._metrics.reloads.labels("failed").inc()
        current_version = self.current.info["version"] if self.current else None
        log(
            logging.ERROR,
            "model_reload_failed",
            {"reason": reason, "still_serving": current_version},
        )

    def _load_model(self, resolved: ResolvedModel, sha256: str | None = None) -> LoadedModel:
        classifier = Classifier.open(
            resolved.path, self._device, reject=self._reject, sha256=sha256
        )
        # Allocates memory for all batch sizes before the first request.
        for batch in (*_WARM_UP_BATCHES, max_batch(classifier)):
            golden = classifier.metadata.golden.input()
            classifier.run(golden.repeat(batch, axis=0))
        return LoadedModel(classifier, model_info(classifier, resolved))

    def _activate(self, loaded_model: LoadedModel) -> None:
        if self.current is not None:
            self._metrics.model_info.labels(*_metric_labels(self.current)).set(0)
        self._metrics.model_info.labels(*_metric_labels(loaded_model)).set(1)
        self.current, self.reload_error = loaded_model, None
        log(logging.INFO, "model_serving", loaded_model.info)


def model_info(classifier: Classifier, resolved: ResolvedModel) -> dict[str, str]:
    """The description of the model in responses.

    ``version`` is the start of the file's SHA-256; ``release`` is the number in the registry, for
    models that come from one.
    """
    metadata = classifier.metadata
    release = {} if resolved.number is None else {"release": str(resolved.number)}
    return {
        "name": resolved.name,
        **release,
        "version": classifier.bundle.sha256[:12],
        "architecture": metadata.architecture["name"],
        "created": metadata.created,
        "score_kind": metadata.score_kind,
    }


def _metric_labels(loaded_model: LoadedModel) -> tuple[Any, ...]:
    info = loaded_model.info
    return (
        info["name"],
        info["version"],
        info["architecture"],
        loaded_model.classifier.bundle.provider,
    )


def _release_memory() -> None:
    """Return freed memory to the system: glibc would keep a megabyte per reload."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
