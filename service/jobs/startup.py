"""Opens jobs as configured."""

import logging
from datetime import timedelta

from earful.service.core.request_log import log
from earful.service.core.settings import Settings
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.jobs.errors import JobsError
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.job_service import JobService
from earful.service.jobs.records import JobLimits


def open_job_service(settings: Settings, feedback: FeedbackService | None) -> JobService | None:
    """Jobs, in the database of feedback if there is one; None when they are off. Blocks.

    If the default folder cannot be used, jobs are off with a warning in the log.

    Raises:
        JobsError: a configured folder cannot be used.
    """
    root = settings.jobs_folder()
    if root is None:
        return None
    folder = JobFolder(root)
    try:
        folder.prepare()
    except JobsError as error:
        if settings.jobs_dir is not None:
            raise
        log(logging.WARNING, "jobs_off", {"reason": str(error)})
        return None
    limits = JobLimits(
        settings.max_jobs,
        settings.max_jobs_bytes,
        timedelta(hours=settings.job_retention_hours),
    )
    log(logging.INFO, "jobs_on", {"folder": str(root)})
    return JobService(folder, limits, None if feedback is None else feedback.get_database)
