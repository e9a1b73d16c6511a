"""Schemas of requests and responses for the OpenAPI document; not used per request."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field


class ErrorDetail(BaseModel):
    code: str = Field(examples=["unsupported_format"])
    message: str = Field(examples=["not audio; accepted are WAV, FLAC, Ogg, MP3 and AIFF"])


class ErrorResponse(BaseModel):
    """The error; ``results`` has the error of each of several files that all failed, and events."""

    error: ErrorDetail
    results: "list[FileResult] | None" = None


class PlainErrorResponse(BaseModel):
    """The error in the format of other services' clients."""

    error: str = Field(examples=["not audio"])


class ModelInfo(BaseModel):
    name: str = Field(examples=["digits"])
    release: str | None = Field(
        None, description="number in the registry, for a model that comes from one"
    )
    version: str = Field(examples=["1f0c9d2ab377"])
    architecture: str = Field(examples=["tcresnet"])
    created: str
    score_kind: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a file may have several labels with independent scores, and "
        "`label` joins all that score 0.5 or more, as in `dog|rain`"
    )


class Score(BaseModel):
    label: str = Field(examples=["7"])
    score: float = Field(ge=0, le=1, examples=[0.98])


class HfLabelScore(BaseModel):
    """An item of ``/hf``: ``score`` is the result of ``function_to_apply``."""

    label: str = Field(examples=["7"])
    score: float = Field(examples=[0.98])


class WindowResult(Score):
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")


class EventResult(Score):
    start: float = Field(description="seconds", examples=[1.24])
    end: float = Field(description="seconds", examples=[1.66])


class FileResult(BaseModel):
    """One file: its prediction, that of its loudest clip, and its events; or its error.

    A recording that is cut off has its error and the events before it.
    """

    filename: str = Field(examples=["seven.wav"])
    seconds: float | None = Field(None, examples=[0.43])
    label: str | None = Field(None, examples=["7"])
    score: float | None = Field(None, examples=[0.98])
    scores: list[Score] | None = None
    events: list[EventResult] | None = Field(
        None,
        description="the sounds that score at least the model's threshold, in order of time; a "
        "recording of at most 1.5 clips is one event as a whole, or none",
    )
    windows: list[WindowResult] | None = Field(None, description="with ?windows=true")
    prediction_id: str | None = Field(None, description="for POST /v1/feedback, if feedback is on")
    error: ErrorDetail | None = None


class ClassifyResponse(BaseModel):
    model: ModelInfo
    results: list[FileResult]


class ActivationMapResponse(BaseModel):
    """Where the model listened for ``label``, from ``start`` to ``end``."""

    model: ModelInfo
    filename: str
    label: str = Field(examples=["7"])
    score: float = Field(ge=0, le=1)
    method: Literal["activation", "occlusion"] = Field(
        description="`activation`: what each part added to the label's logit; `occlusion`: what "
        "silencing the part takes from its log-odds"
    )
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")
    row_edges_hz: list[float] = Field(
        description="bounds of the rows; empty where one row is of all frequencies"
    )
    map: list[list[float]] = Field(
        description="rows from the lowest frequency up; their columns are equal parts of the time"
    )


class HealthResponse(BaseModel):
    status: str = Field(examples=["UP"])
    model_class: str


class SetupResponse(BaseModel):
    model_version: str = Field(examples=["digits-1f0c9d2ab377"])


class TaskPrediction(BaseModel):
    """A prediction in Label Studio's format; if it is empty, ``error`` may say why."""

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
    408: "the body arrives too slowly",
    413: "too many bytes, seconds or files",
    415: "not audio",
    422: "unusable audio",
    429: "the queue is full; see Retry-After",
    500: "the model failed",
    503: "not ready",
    504: "not finished before the deadline",
    507: "no room for a large upload",
}


def openapi_responses(
    success: type[BaseModel] | None,
    failure: type[BaseModel],
    status: int = 200,
    own_errors: Mapping[int, str] = MappingProxyType({}),
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that returns ``success``, or ``failure`` for every error.

    ``own_errors`` are descriptions of those that other routes do not have, or have for another
    reason. Without a model what succeeds is left to the route.
    """
    failures: dict[int | str, dict[str, Any]] = {
        code: {"model": failure, "description": description}
        for code, description in {**_ERROR_DESCRIPTIONS, **own_errors}.items()
    }
    return failures if success is None else {status: {"model": success}, **failures}


def json_body(kind: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """For the OpenAPI document: the body of a route that reads it itself, as this type of JSON."""
    content = {"application/json": {"schema": json_schema(kind)}}
    return {"requestBody": {"required": required, "content": content}}


def json_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The schema of a type, with those of its parts in their places."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def in_place(value: Any) -> Any:
        if isinstance(value, list):
            return [in_place(item) for item in value]
        if not isinstance(value, dict):
            return value
        part = parts.get(str(value.get("$ref", "")).rpartition("/")[2], {})
        return {key: in_place(item) for key, item in (part | value).items() if key != "$ref"}

    inlined: dict[str, Any] = in_place(schema)
    return inlined


_BINARY = {"type": "string", "format": "binary"}
# Query parameters of the classify route, which parses them itself.
CLASSIFY_PARAMETERS: dict[str, Any] = {
    "parameters": [
        {
            "name": "windows",
            "in": "query",
            "description": "also the windows of each recording, a quarter of a clip apart",
            "schema": {"type": "boolean", "default": False},
        },
        {
            "name": "top_k",
            "in": "query",
            "description": "number of `scores`; all by default",
            "schema": {"type": "integer", "minimum": 1},
        },
    ]
}
# For routes that read the body themselves, which FastAPI cannot document.
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
