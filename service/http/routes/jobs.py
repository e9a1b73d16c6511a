"""``/v1/jobs``: long recordings are uploaded now, and their events fetched as they are found."""

import asyncio
from collections.abc import Iterator
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from earful.service.core.errors import RequestError, to_json
from earful.service.http.app_state import Service
from earful.service.http.request_body import RequestBody
from earful.service.http.schemas import (
    UPLOAD_BODY,
    ErrorDetail,
    ErrorResponse,
    EventResult,
    ModelInfo,
    openapi_responses,
)
from earful.service.jobs.job_service import JobService
from earful.service.jobs.records import FileView, JobView

State = Literal["waiting", "running", "done", "failed"]


class JobProgress(BaseModel):
    seconds_done: float = Field(description="of audio", examples=[1830.5])
    seconds: float | None = Field(
        description="of all files; null until their headers are read, and if one does not say",
        examples=[3600.0],
    )
    files_done: int
    files: int


class JobFileResult(BaseModel):
    """A file of a job: its events so far, and its error if it has one."""

    filename: str = Field(examples=["meeting.wav"])
    status: State
    seconds: float | None = Field(None, examples=[3600.0])
    label: str | None = Field(None, description="of a file of at most 1.5 clips")
    score: float | None = Field(None, ge=0, le=1)
    events: list[EventResult]
    model: ModelInfo | None = Field(None, description="the model that answers this file")
    error: ErrorDetail | None = None


class JobResponse(BaseModel):
    id: str
    status: State = Field(description="`failed`: every file failed")
    created: str = Field(examples=["2026-11-21T10:00:00.123456+00:00"])
    expires: str = Field(description="when the job is deleted; later if it ends later")
    progress: JobProgress
    results: list[JobFileResult]


def job_json(job: JobView) -> bytes:
    """The response; events are stored as JSON, and are not parsed: there may be many."""
    head = {
        "id": job.id,
        "status": job.state,
        "created": job.created_at,
        "expires": job.expires_at,
        "progress": _progress(job),
    }
    results = b",".join(b"".join(_file_json(file)) for file in job.files)
    return b'%b,"results":[%b]}' % (to_json(head)[:-1], results)


def _progress(job: JobView) -> dict[str, float | int | None]:
    lengths = [file.seconds for file in job.files]
    known = [seconds for seconds in lengths if seconds is not None]
    return {
        "seconds_done": round(sum(file.seconds_done for file in job.files), 3),
        "seconds": round(sum(known), 3) if len(known) == len(lengths) else None,
        "files_done": sum(file.state in ("done", "failed") for file in job.files),
        "files": len(job.files),
    }


def _file_json(file: FileView) -> Iterator[bytes]:
    head: dict[str, object] = {"filename": file.filename, "status": file.state}
    if file.seconds:
        head["seconds"] = round(file.seconds, 6)
    if file.label is not None:
        head |= {"label": file.label, "score": file.score}
    yield to_json(head)[:-1]
    yield b',"events":[%b]' % ",".join(file.events).encode()
    if file.model is not None:
        yield b',"model":' + file.model.encode()
    if file.error_code is not None:
        yield b',"error":' + to_json({"code": file.error_code, "message": file.error_message})
    yield b"}"


_JOB_PATH = "/v1/jobs/{job_id}"

_NOT_FOUND = {404: "no such job, or that of another key"}
_REFUSED = {
    429: "too many jobs or bytes; see Retry-After",
    503: "jobs are off, or their database is unavailable",
    507: "the disk for jobs is full",
}


def add_job_routes(app: FastAPI, service: Service) -> None:
    """Add the routes; all need the scope ``classify``, and the key that the job was made with."""

    @app.post(
        "/v1/jobs",
        summary="Classify long recordings: upload them, and ask for their events later",
        status_code=202,
        openapi_extra=UPLOAD_BODY,
        responses=openapi_responses(JobResponse, ErrorResponse, 202, _REFUSED),
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
        responses=openapi_responses(JobResponse, ErrorResponse, own_errors=_NOT_FOUND),
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
        responses=openapi_responses(None, ErrorResponse, own_errors=_NOT_FOUND),
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
