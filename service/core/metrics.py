"""Prometheus metrics of the service; each app has one ``ServiceMetrics``.

With several worker processes, each writes its values to files in ``PROMETHEUS_MULTIPROC_DIR``, and
any of them reports the metrics of all.
"""

import os
import re
from functools import partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from earful.data.system.processes import is_alive
from earful.service.classifier import MAX_BATCH

# A file takes less than a millisecond; deadlines are tens of seconds.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PREFIX = "earful"
MULTIPROCESS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class ServiceMetrics:
    """Prometheus metrics of one service, named ``earful_*``."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = partial(Counter, namespace=_PREFIX, registry=registry)
        gauge = partial(Gauge, namespace=_PREFIX, registry=registry)
        histogram = partial(Histogram, namespace=_PREFIX, registry=registry, buckets=_SECONDS)
        # A gauge of several workers is the sum over those that live, unless stated otherwise.
        total = partial(gauge, multiprocess_mode="livesum")

        self.requests = counter("requests", "Responses by route and status code", ["route", "code"])
        self.request_seconds = histogram(
            "request_seconds", "Time from a request to its response", ["route"]
        )
        self.queue_seconds = histogram("queue_seconds", "Time a file waits for its batch")
        self.decode_seconds = histogram("decode_seconds", "Time to decode a file")
        self.inference_seconds = histogram("inference_seconds", "Time to run a batch")
        self.batch_windows = histogram(
            "batch_windows", "Windows in a batch", buckets=[1, 2, 4, 8, 16, MAX_BATCH]
        )
        self.queue_depth = total("queue_depth", "Files queued or in progress")
        self.rejected = counter("rejected", "Files and requests refused, by error code", ["reason"])
        self.model_info = gauge(
            "model_info",
            "1 for the served model",
            ["name", "version", "architecture", "provider"],
            multiprocess_mode="livemax",
        )
        self.reloads = counter(
            "model_reloads", "Model reloads while serving, by outcome", ["outcome"]
        )
        self.background_failures = counter(
            "background_failures",
            "Failed steps of background threads and tasks; each is tried again",
            ["task"],
        )
        self.background_failing = total(
            "background_failing", "Background threads and tasks whose last step failed", ["task"]
        )
        self.streams = total("streams", "Open streams")
        self.connections = total("connections", "Open connections")
        self.connections_closed = counter(
            "connections_closed", "Connections that a limit ended, by reason", ["reason"]
        )
        self.file_limit_reached = counter(
            "file_limit_reached", "Checks, two a second, that found no file descriptor left"
        )
        self.events = counter("stream_events", "Events in streams")
        self.feedback = counter("feedback", "Labels submitted")
        self.recordings_saved = counter(
            "recordings_saved",
            "Recordings to be saved after classification, by outcome",
            ["outcome"],
        )
        self.jobs_waiting = gauge(
            "jobs_waiting", "Jobs that wait for a worker", multiprocess_mode="livemostrecent"
        )
        self.jobs_running = total("jobs_running", "Jobs that run")
        self.jobs_finished = counter("jobs_finished", "Jobs that ended, by outcome", ["outcome"])

    def text(self) -> bytes:
        """The metrics of all worker processes in Prometheus' text format."""
        if MULTIPROCESS_DIR_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(os.environ[MULTIPROCESS_DIR_VARIABLE]))
        all_workers = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)


def _forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of ended workers, which would stay for ever; their counters are kept."""
    for path in folder.glob("gauge_live*.db"):
        match = re.search(r"_(\d+)\.db$", path.name)
        if match and not is_alive(int(match[1])):
            multiprocess.mark_process_dead(int(match[1]))  # type: ignore[no-untyped-call]
