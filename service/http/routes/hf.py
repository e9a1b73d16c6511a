"""``POST /hf``: Hugging Face's audio-classification task, so that its clients work unchanged.

    InferenceClient(model="http://localhost:8000/hf").audio_classification("seven.wav", top_k=3)

Without parameters the body is the file's bytes; with parameters it is JSON that holds them in
base64. The response is a list of labels and scores, best first; errors are ``{"error": "..."}``.
"""

import base64
import binascii
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from earful.models.bundle.decision import ScoreKind
from earful.service.classifier import Prediction
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import RequestError, json_response
from earful.service.http.app_state import Service
from earful.service.http.schemas import HfLabelScore, PlainErrorResponse, openapi_responses

# The default of the pipeline in transformers.
DEFAULT_TOP_K = 5
FunctionToApply = Literal["softmax", "sigmoid", "none"]
_MAX_JSON_OVERHEAD_BYTES = 1 << 16  # of a JSON body, besides the file in base64
_MIN_PROBABILITY = 1e-12  # scores must be finite in JSON


@dataclass(frozen=True)
class HfParameters:
    """``function_to_apply`` is applied to the logits; None means the model's own function.

    The logits of softmax scores are known up to a constant; log-probabilities are used.
    """

    top_k: int = DEFAULT_TOP_K
    function_to_apply: FunctionToApply | None = None


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
            [outcome] = await service.classify([blob], loaded_model, deadline, request)
        if not isinstance(outcome, Prediction):
            raise outcome
        return json_response(
            _ranked(outcome, parameters, loaded_model.classifier.metadata.score_kind)
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
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("malformed_request", f"the body is not JSON: {error}") from error
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, str):
        raise RequestError("malformed_request", "'inputs' must hold the file in base64")
    try:
        blob = base64.b64decode(inputs, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("malformed_request", f"'inputs' is not base64: {error}") from error
    return blob, _parameters(request.get("parameters") or {})


def _parameters(values: Any) -> HfParameters:
    if not isinstance(values, dict):
        raise RequestError("malformed_request", "'parameters' must be an object")
    known = {key: value for key, value in values.items() if value is not None}
    unknown = sorted(set(known) - {"top_k", "function_to_apply"})
    if unknown:
        raise RequestError(
            "malformed_request",
            f"unknown parameter {', '.join(unknown)}; accepted are top_k and function_to_apply",
        )
    top_k = known.get("top_k", DEFAULT_TOP_K)
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise RequestError("malformed_request", f"top_k must be 1 or more, found {top_k!r}")
    function = known.get("function_to_apply")
    if function is not None and function not in get_args(FunctionToApply):
        choices = ", ".join(get_args(FunctionToApply))
        raise RequestError(
            "malformed_request", f"function_to_apply is one of {choices}, found {function!r}"
        )
    return HfParameters(top_k, cast("FunctionToApply | None", function))


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {"type": "string", "format": "byte"},
                        "parameters": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "top_k": {"type": "integer", "minimum": 1},
                                "function_to_apply": {"enum": list(get_args(FunctionToApply))},
                            },
                        },
                    },
                }
            },
        },
    }
}
