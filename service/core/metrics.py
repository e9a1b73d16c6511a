"""Prometheus metrics of the service; each app has one ``ServiceMetrics``.

With several worker processes, each writes its values to files in ``PROMETHEUS_MULTIPROC_DIR``, and
any of them reports the metrics of all.
"""

import os
import re
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
MULTIPROCESS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class ServiceMetrics:
    """Prometheus metrics of one service, named ``earful_*``."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "earful_requests",
            "Responses by route and status code",
            ["route", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "earful_request_seconds",
            "Time from a request to its response",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = self._histogram("queue_seconds", "Time a file waits for its batch")
        self.decode_seconds = self._histogram("decode_seconds", "Time to decode a file")
        self.inference_seconds = self._histogram("inference_seconds", "Time to run a batch")
        self.batch_windows = Histogram(
            "earful_batch_windows",
            "Windows in a batch",
            buckets=[1, 2, 4, 8, 16, MAX_BATCH],
            registry=registry,
        )
        self.queue_depth = Gauge(
            "earful_queue_depth",
            "Files queued or in progress",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.rejected = Counter(
            "earful_rejected",
            "Files and requests refused, by error code",
            ["reason"],
            registry=registry,
        )
        self.model_info = Gauge(
            "earful_model_info",
            "1 for the served model",
            ["name", "version", "architecture", "provider"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.reloads = Counter(
            "earful_model_reloads",
            "Model reloads while serving, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.background_failures = Counter(
            "earful_background_failures",
            "Failed steps of background threads and tasks; each is tried again",
            ["task"],
            registry=registry,
        )
        self.background_failing = Gauge(
            "earful_background_failing",
            "Background threads and tasks whose last step failed",
            ["task"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.streams = Gauge(
            "earful_streams", "Open streams", registry=registry, multiprocess_mode="livesum"
        )
        self.connections = Gauge(
            "earful_connections", "Open connections", registry=registry, multiprocess_mode="livesum"
        )
        self.connections_closed = Counter(
            "earful_connections_closed",
            "Connections that a limit ended, by reason",
            ["reason"],
            registry=registry,
        )
        self.file_limit_reached = Counter(
            "earful_file_limit_reached",
            "Checks, two a second, that found no file descriptor left",
            registry=registry,
        )
        self.events = Counter("earful_stream_events", "Events in streams", registry=registry)
        self.feedback = Counter("earful_feedback", "Labels submitted", registry=registry)
        self.recordings_saved = Counter(
            "earful_recordings_saved",
            "Recordings to be saved after classification, by outcome",
            ["outcome"],
            registry=registry,
        )

        self.jobs_waiting = Gauge(
            "earful_jobs_waiting",
            "Jobs that wait for a worker",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.jobs_running = Gauge(
            "earful_jobs_running", "Jobs that run", registry=registry, multiprocess_mode="livesum"
        )
        self.jobs_finished = Counter(
            "earful_jobs_finished", "Jobs that ended, by outcome", ["outcome"], registry=registry
        )

    def text(self) -> bytes:
        """The metrics of all worker processes in Prometheus' text format."""
        if MULTIPROCESS_DIR_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(os.environ[MULTIPROCESS_DIR_VARIABLE]))
        all_workers = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)

    def _histogram(self, name: str, description: str) -> Histogram:
        return Histogram(f"earful_{name}", description, buckets=_SECONDS, registry=self._registry)


def _forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of ended workers, which would stay for ever; their counters are kept."""
    for path in folder.glob("gauge_live*.db"):
        match = re.search(r"_(\d+)\.db$", path.name)
        if match and not is_alive(int(match[1])):
            multiprocess.mark_process_dead(int(match[1]))  # type: ignore[no-untyped-call]
