"""Schemas of jobs for the OpenAPI document, and their JSON."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, Field

from earful.service.core.errors import to_json
from earful.service.http.schemas import ErrorDetail, EventResult, ModelInfo
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
