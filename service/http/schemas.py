"""The shapes of requests and answers, for the OpenAPI document: nothing here runs per request."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ErrorDetail(BaseModel):
    code: str = Field(examples=["unsupported_format"])
    message: str = Field(examples=["not audio; accepted are WAV, FLAC, Ogg, MP3 and AIFF"])


class ErrorResponse(BaseModel):
    """What was wrong; of several files that all failed, ``results`` tells of each."""

    error: ErrorDetail
    results: "list[FileResult] | None" = None


class PlainErrorResponse(BaseModel):
    """What was wrong, as clients of other services read it."""

    error: str = Field(examples=["not audio"])


class ModelInfo(BaseModel):
    name: str = Field(examples=["digits"])
    release: str | None = Field(None, description="its number in the registry, if it is of one")
    version: str = Field(examples=["1f0c9d2ab377"])
    architecture: str = Field(examples=["tcresnet"])
    created: str
    score_kind: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a file may have several labels, each with a score of its own, and "
        "`label` names all that reach 0.5 as in `dog|rain`"
    )


class Score(BaseModel):
    label: str = Field(examples=["7"])
    score: float = Field(ge=0, le=1, examples=[0.98])


class HfLabelScore(BaseModel):
    """Of ``/hf``: a probability, or what ``function_to_apply`` makes of it."""

    label: str = Field(examples=["7"])
    score: float = Field(examples=[0.98])


class WindowResult(Score):
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")


class FileResult(BaseModel):
    """One file: what was heard, or its error."""

    filename: str = Field(examples=["seven.wav"])
    seconds: float | None = Field(None, examples=[0.43])
    label: str | None = Field(None, examples=["7"])
    score: float | None = Field(None, examples=[0.98])
    scores: list[Score] | None = None
    windows: list[WindowResult] | None = None
    prediction_id: str | None = Field(None, description="for POST /v1/feedback, where that is on")
    error: ErrorDetail | None = None


class ClassifyResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: ModelInfo
    results: list[FileResult]


class HealthResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    status: str = Field(examples=["UP"])
    model_class: str


class SetupResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_version: str = Field(examples=["digits-1f0c9d2ab377"])


class TaskPrediction(BaseModel):
    """A prediction as Label Studio takes it; where it is empty, ``error`` may say why."""

    model_config = ConfigDict(protected_namespaces=())

    result: list[dict[str, Any]]
    score: float
    model_version: str
    error: ErrorDetail | None = None


class PredictResponse(BaseModel):
    results: list[TaskPrediction]


class WebhookResponse(BaseModel):
    status: str = Field(examples=["accepted"])


_ERROR_DESCRIPTIONS = {
    400: "malformed request",
    401: "no API key, or an unknown one",
    403: "a key of another scope",
    408: "the body came too slowly",
    413: "too many bytes, seconds or files",
    415: "not audio",
    422: "audio that cannot be used",
    429: "the queue is full; see Retry-After",
    500: "the model failed",
    503: "not ready",
    504: "no answer before the deadline",
}


def openapi_responses(
    success: type[BaseModel], failure: type[BaseModel], status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers ``found`` or refuses with ``refused``."""
    failures: dict[int | str, dict[str, Any]] = {
        code: {"model": failure, "description": description}
        for code, description in _ERROR_DESCRIPTIONS.items()
    }
    return {status: {"model": success}, **failures}


_BINARY = {"type": "string", "format": "binary"}
# A route that reads the body itself says here what it takes.
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": _BINARY}},
                }
            },
            "audio/*": {"schema": _BINARY},
        },
    }
}
