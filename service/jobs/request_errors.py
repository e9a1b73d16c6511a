"""Errors of requests about jobs."""

import errno
import logging

from earful.service.core.errors import RequestError
from earful.service.core.request_log import log

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_request_error(error: OSError) -> RequestError:
    """The error of a request whose files could not be written."""
    if error.errno in _DISK_FULL:
        return disk_full()
    log(logging.ERROR, "jobs_unavailable", {"reason": str(error)})
    return unavailable("the upload could not be written")


def disk_full() -> RequestError:
    return RequestError(
        "disk_full", "the disk for jobs is full; try again later", {"Retry-After": "60"}
    )


def not_found() -> RequestError:
    return RequestError(
        "job_not_found", "no such job; it may have been deleted, or be older than it is kept"
    )


def unavailable(message: str) -> RequestError:
    return RequestError("jobs_unavailable", f"{message}; try again", {"Retry-After": "1"})
