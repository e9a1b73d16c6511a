"""The number of files and connections that the system lets a worker open."""

import logging
import os
from pathlib import Path

from earful.data.system.limits import max_open_files, raise_open_files
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log

# Of a worker besides its connections: uploads, the database, libraries.
_OTHER_FILES = 256
_LOG_SECONDS = 60.0


def raise_file_limit(max_connections: int) -> None:
    """Allow this process the files that its connections need, as far as the system lets it."""
    raise_open_files(max_connections + _OTHER_FILES)


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
                fields = {"reason": error.strerror, "limit": max_open_files()}
                log(logging.ERROR, "file_limit_reached", fields)
