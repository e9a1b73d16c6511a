"""``POST /hf``: Hugging Face's audio-classification task, so that its clients work unchanged.

    InferenceClient(model="http://localhost:8000/hf").audio_classification("seven.wav", top_k=3)

Without parameters the body is the file's bytes; with parameters it is JSON that holds them in
base64. The response is a list of labels and scores, best first; errors are ``{"error": "..."}``.
"""

import base64
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, model_validator
from starlette.concurrency import run_in_threadpool

from earful.data.text.json_input import STRICT
from earful.models.bundle.decision import ScoreKind
from earful.service.classifier import Prediction
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import json_response, malformed
from earful.service.http.app_state import Service
from earful.service.http.request_body import parse_body
from earful.service.http.schemas import (
    HfLabelScore,
    PlainErrorResponse,
    json_body,
    openapi_responses,
)

# The default of the pipeline in transformers.
DEFAULT_TOP_K = 5
FunctionToApply = Literal["softmax", "sigmoid", "none"]
_MAX_JSON_OVERHEAD_BYTES = 1 << 16  # of a JSON body, besides the file in base64
_MIN_PROBABILITY = 1e-12  # scores must be finite in JSON


class HfParameters(BaseModel):
    """``function_to_apply`` is applied to the logits; without it, the model's own function is.

    The logits of softmax scores are known up to a constant; log-probabilities are used.
    """

    model_config = STRICT

    top_k: int = Field(DEFAULT_TOP_K, ge=1)
    function_to_apply: FunctionToApply | None = None

    @model_validator(mode="before")
    @classmethod
    def _skip_nulls(cls, values: Any) -> Any:
        """Clients send null for each parameter that is not set, also for those of other tasks."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class HfRequest(BaseModel):
    """A file with parameters; other keys of the task, such as ``options``, are ignored."""

    model_config = STRICT | {"extra": "ignore"}

    inputs: str = Field(description="the file in base64", json_schema_extra={"format": "byte"})
    parameters: HfParameters | None = None


def add_hf_route(app: FastAPI, service: Service) -> Callable[[Request], Awaitable[Response]]:
    """Add the route and return its handler, which ``Dispatcher`` calls directly."""

    @app.post(
        "/hf",
        summary="Classify one file, as Hugging Face's task audio-classification",
        openapi_extra=_BODY,
        responses=openapi_responses(HfLabelScore, PlainErrorResponse)
        | {200: {"model": list[HfLabelScore], "description": "labels, best first"}},
    )
    async def hf(request: Request) -> Response:
        deadline = service.deadline()
        loaded_model = service.admit(request.headers, "classify")
        max_bytes = service.settings.memory_limits().max_bytes
        with service.open_body(request, deadline) as body:
            if request.headers.get("content-type", "").lower().startswith("application/json"):
                text = await body.read_all(_MAX_JSON_OVERHEAD_BYTES + max_bytes * 4 // 3)
                blob, parameters = await run_in_threadpool(_parse, text)
            else:
                blob = await body.read_all(max_bytes)
                parameters = HfParameters()
            [prediction] = await service.predict([blob], loaded_model, deadline, request)
        return json_response(
            _ranked(prediction, parameters, loaded_model.classifier.metadata.score_kind)
        )

    return hf


def _ranked(
    outcome: Prediction, parameters: HfParameters, model_score_kind: ScoreKind
) -> list[dict[str, Any]]:
    """The ``top_k`` labels with their scores; every function keeps the order."""
    names, scores = zip(*outcome.ranked(), strict=True)
    function = parameters.function_to_apply or model_score_kind
    if function != model_score_kind:
        scores = _apply_function(function, [_logit(score, model_score_kind) for score in scores])
    ranked = list(zip(names, scores, strict=True))[: parameters.top_k]
    return [{"score": round(score, SCORE_DIGITS), "label": name} for name, score in ranked]


def _apply_function(function: FunctionToApply, logits: Sequence[float]) -> tuple[float, ...]:
    if function == "none":
        return tuple(logits)
    if function == "sigmoid":
        return tuple(1 / (1 + math.exp(-logit)) for logit in logits)
    powers = [math.exp(logit) for logit in logits]
    total = sum(powers)
    return tuple(power / total for power in powers)


def _logit(probability: float, model_score_kind: ScoreKind) -> float:
    logit = math.log(max(probability, _MIN_PROBABILITY))
    if model_score_kind == "softmax":
        return logit
    return logit - math.log(max(1 - probability, _MIN_PROBABILITY))


def _parse(body: bytes) -> tuple[bytes, HfParameters]:
    """The file and parameters in a JSON body."""
    request = parse_body(HfRequest, body)
    try:
        blob = base64.b64decode(request.inputs, validate=True)
    except ValueError as error:
        raise malformed(f"'inputs' is not base64: {error}") from error
    return blob, request.parameters or HfParameters()


_BODY = json_body(HfRequest)
_BODY["requestBody"]["content"]["audio/*"] = {"schema": {"type": "string", "format": "binary"}}
