"""``/v1/jobs``: long recordings are uploaded now, and their events fetched as they are found."""

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from earful.service.core.errors import RequestError
from earful.service.http.app_state import Service
from earful.service.http.job_schemas import JobResponse, job_json
from earful.service.http.request_body import RequestBody
from earful.service.http.schemas import UPLOAD_BODY, ErrorResponse, openapi_responses
from earful.service.jobs.job_service import JobService

_JOB_PATH = "/v1/jobs/{job_id}"

_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "no such job, or that of another key"}
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    429: {"model": ErrorResponse, "description": "too many jobs or bytes; see Retry-After"},
    503: {"model": ErrorResponse, "description": "jobs are off, or their database is unavailable"},
    507: {"model": ErrorResponse, "description": "the disk for jobs is full"},
}


def add_job_routes(app: FastAPI, service: Service) -> None:
    """Add the routes; all need the scope ``classify``, and the key that the job was made with."""

    @app.post(
        "/v1/jobs",
        summary="Classify long recordings: upload them, and ask for their events later",
        status_code=202,
        openapi_extra=UPLOAD_BODY,
        responses=openapi_responses(JobResponse, ErrorResponse, status=202) | _REFUSED,
    )
    async def submit(request: Request) -> Response:
        jobs = _admit(service, request)
        service.loaded_model()
        owner = service.keys.owner(request.headers)
        with service.open_body(request, service.deadline()) as body:
            upload_id = await _receive(service, jobs, owner, body)
        request.state.request_log.log_fields |= {
            "job": upload_id[:8],
            "bytes": body.n_received,
        }
        response = await _job_response(service, jobs, upload_id, owner, status=202)
        response.headers["location"] = _JOB_PATH.format(job_id=upload_id)
        return response

    @app.get(
        _JOB_PATH,
        summary="State, progress and results of a job",
        responses=openapi_responses(JobResponse, ErrorResponse) | _NOT_FOUND,
    )
    async def read(request: Request, job_id: str) -> Response:
        _hide_id(request, job_id)
        jobs = _admit(service, request)
        return await _job_response(service, jobs, job_id, service.keys.owner(request.headers))

    @app.delete(
        _JOB_PATH,
        summary="Stop a job, and delete its uploads and results",
        status_code=204,
        response_class=Response,
        responses=openapi_responses(None, ErrorResponse) | _NOT_FOUND,
    )
    async def delete(request: Request, job_id: str) -> Response:
        _hide_id(request, job_id)
        jobs = _admit(service, request)
        await jobs.delete(job_id, service.keys.owner(request.headers), service.deadline())
        return Response(status_code=204)


def _admit(service: Service, request: Request) -> JobService:
    """Check that a request may use jobs.

    Raises:
        RequestError: ``unauthorized``, ``forbidden`` or ``jobs_off``.
    """
    service.keys.check(request.headers, "classify")
    if service.jobs is None:
        raise RequestError("jobs_off", "jobs are off; set EARFUL_JOBS_DIR to a folder")
    return service.jobs


def _hide_id(request: Request, job_id: str) -> None:
    """Log the start of the id: without keys, who knows all of it can read the results."""
    request.state.request_log.log_fields |= {"path": _JOB_PATH, "job": job_id[:8]}


async def _receive(service: Service, jobs: JobService, owner: str, body: RequestBody) -> str:
    """Write the files of a request to disk, and let the job wait; its id."""
    settings = service.settings
    max_file_bytes = settings.max_job_upload_bytes
    max_bytes = settings.max_jobs_bytes
    if not body.is_form:
        max_bytes = min(max_bytes, max_file_bytes)
    body.check_headers(max_bytes)
    async with jobs.upload(owner, body.declared_bytes, service.deadline) as upload:
        await body.write_to(upload, max_bytes, max_file_bytes)
        await upload.finish()
    return upload.id


async def _job_response(
    service: Service, jobs: JobService, job_id: str, owner: str, status: int = 200
) -> Response:
    job = await jobs.find(job_id, owner, service.deadline())
    content = await asyncio.to_thread(job_json, job)
    return Response(content, status, media_type="application/json")
