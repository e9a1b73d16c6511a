"""Errors of requests about jobs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from earful.service.core.disk import disk_errors
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log


@contextmanager
def upload_errors() -> Iterator[None]:
    """Turn what fails while an upload is written into ``disk_full`` or ``jobs_unavailable``."""
    try:
        with disk_errors():
            yield
    except OSError as error:
        log(logging.ERROR, "jobs_unavailable", {"reason": str(error)})
        raise unavailable("the upload could not be written") from error


def not_found() -> RequestError:
    return RequestError(
        "job_not_found", "no such job; it may have been deleted, or be older than it is kept"
    )


def unavailable(message: str) -> RequestError:
    return RequestError("jobs_unavailable", f"{message}; try again", {"Retry-After": "1"})
