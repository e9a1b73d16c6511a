"""The number of files and connections that the system lets a worker open."""

import logging
import os
import resource
from pathlib import Path

from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log

# Of a worker besides its connections: uploads, the database, libraries.
_OTHER_FILES = 256
_LOG_SECONDS = 60.0


def raise_file_limit(max_connections: int) -> None:
    """Allow this process the files that its connections need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


class FileLimitWatch:
    """Reports that no more files can be opened: libuv then closes new connections in silence."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics = metrics
        self._logged_at = float("-inf")

    def check(self, now: float) -> None:
        try:
            Path(os.devnull).open("rb").close()
        except OSError as error:
            self._metrics.file_limit_reached.inc()
            if now - self._logged_at > _LOG_SECONDS:
                self._logged_at = now
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                fields = {"reason": error.strerror, "limit": limit}
                log(logging.ERROR, "file_limit_reached", fields)
