"""The shapes of requests and answers, for the OpenAPI document: nothing here runs per request."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ErrorDetail(BaseModel):
    code: str = Field(examples=["unsupported_format"])
    message: str = Field(examples=["not audio; accepted are WAV, FLAC, Ogg, MP3 and AIFF"])


class ErrorAnswer(BaseModel):
    """What was wrong; of several files that all failed, ``results`` tells of each."""

    error: ErrorDetail
    results: "list[FileAnswer] | None" = None


class SentenceAnswer(BaseModel):
    """What was wrong, as clients of other services read it."""

    error: str = Field(examples=["not audio"])


class ModelInfo(BaseModel):
    name: str = Field(examples=["digits"])
    release: str | None = Field(None, description="its number in the registry, if it is of one")
    version: str = Field(examples=["1f0c9d2ab377"])
    architecture: str = Field(examples=["tcresnet"])
    created: str
    scores: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a file may have several labels, each with a score of its own, and "
        "`label` names all that reach 0.5 as in `dog|rain`"
    )


class Score(BaseModel):
    label: str = Field(examples=["7"])
    score: float = Field(ge=0, le=1, examples=[0.98])


class Ranked(BaseModel):
    """Of ``/hf``: a probability, or what ``function_to_apply`` makes of it."""

    label: str = Field(examples=["7"])
    score: float = Field(examples=[0.98])


class HeardWindow(Score):
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")


class FileAnswer(BaseModel):
    """One file: what was heard, or its error."""

    filename: str = Field(examples=["seven.wav"])
    seconds: float | None = Field(None, examples=[0.43])
    label: str | None = Field(None, examples=["7"])
    score: float | None = Field(None, examples=[0.98])
    scores: list[Score] | None = None
    windows: list[HeardWindow] | None = None
    prediction_id: str | None = Field(None, description="for POST /v1/feedback, where that is on")
    error: ErrorDetail | None = None


class ClassifyAnswer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: ModelInfo
    results: list[FileAnswer]


class Up(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    status: str = Field(examples=["UP"])
    model_class: str


class SetUp(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_version: str = Field(examples=["digits-1f0c9d2ab377"])


class PreLabel(BaseModel):
    """A prediction as Label Studio takes it; where it is empty, ``error`` may say why."""

    model_config = ConfigDict(protected_namespaces=())

    result: list[dict[str, Any]]
    score: float
    model_version: str
    error: ErrorDetail | None = None


class PreLabelled(BaseModel):
    results: list[PreLabel]


class Taken(BaseModel):
    status: str = Field(examples=["taken"])


_REFUSALS = {
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


def answers_of(
    found: type[BaseModel], refused: type[BaseModel], status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers ``found`` or refuses with ``refused``."""
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": refused, "description": why} for code, why in _REFUSALS.items()
    }
    return {status: {"model": found}, **refusals}


_BINARY = {"type": "string", "format": "binary"}
# A route that reads the body itself says here what it takes.
UPLOAD: dict[str, Any] = {
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
