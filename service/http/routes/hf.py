"""``POST /hf``: the audio-classification task of Hugging Face, so that its clients work unchanged.

    InferenceClient(model="http://localhost:8000/hf").audio_classification("seven.wav", top_k=3)

Without parameters the body is the file's bytes; with parameters it is JSON that holds them in
base64. The answer is a list of labels and scores, best first; errors are ``{"error": "..."}``.
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

from earful.models.bundle.decision import Scores
from earful.service.classifier import Prediction
from earful.service.core.errors import RequestError, json_answer
from earful.service.http.app_state import SCORE_DIGITS, Service
from earful.service.http.schemas import Ranked, SentenceAnswer, answers_of

# What the pipeline of transformers answers when it is not told otherwise.
DEFAULT_TOP_K = 5
FunctionToApply = Literal["softmax", "sigmoid", "none"]
_JSON_BYTES = 1 << 16  # of a JSON body beside the file in base64
_LEAST_PROBABILITY = 1e-12  # scores must be finite in JSON


@dataclass(frozen=True)
class Parameters:
    """``function_to_apply`` is to the logits; None is the model's own, whose scores those are.

    Of softmax scores the logits are known but for a constant: taken are the log-probabilities.
    """

    top_k: int = DEFAULT_TOP_K
    function_to_apply: FunctionToApply | None = None


def add_hf_route(app: FastAPI, service: Service) -> Callable[[Request], Awaitable[Response]]:
    """Returns the handler, for a direct way to it."""

    @app.post(
        "/hf",
        summary="Classify one file, as the Hugging Face task audio-classification",
        openapi_extra=_BODY,
        responses=answers_of(Ranked, SentenceAnswer)
        | {200: {"model": list[Ranked], "description": "labels, best first"}},
    )
    async def hf(request: Request) -> Response:
        deadline = service.deadline()
        served = service.admit(request.headers, "classify")
        with service.intake.reading(request, deadline) as body:
            if request.headers.get("content-type", "").lower().startswith("application/json"):
                text = await body.whole(_JSON_BYTES + service.settings.max_upload_bytes * 4 // 3)
                blob, parameters = await run_in_threadpool(_parse, text)
            else:
                blob = await body.whole(service.settings.max_upload_bytes)
                parameters = Parameters()
            [answer] = await service.answer([blob], served, deadline, request)
        if not isinstance(answer, Prediction):
            raise answer
        return json_answer(_ranked(answer, parameters, served.classifier.metadata.scores))

    return hf


def _ranked(answer: Prediction, parameters: Parameters, own: Scores) -> list[dict[str, Any]]:
    """The best labels with their scores; every function keeps the order."""
    names, scores = zip(*answer.ranked(), strict=True)
    function = parameters.function_to_apply or own
    if function != own:
        scores = _applied(function, [_logit(score, own) for score in scores])
    ranked = list(zip(names, scores, strict=True))[: parameters.top_k]
    return [{"score": round(score, SCORE_DIGITS), "label": name} for name, score in ranked]


def _applied(function: FunctionToApply, logits: Sequence[float]) -> tuple[float, ...]:
    if function == "none":
        return tuple(logits)
    if function == "sigmoid":
        return tuple(1 / (1 + math.exp(-logit)) for logit in logits)
    powers = [math.exp(logit) for logit in logits]
    whole = sum(powers)
    return tuple(power / whole for power in powers)


def _logit(probability: float, own: Scores) -> float:
    logit = math.log(max(probability, _LEAST_PROBABILITY))
    if own == "softmax":
        return logit
    return logit - math.log(max(1 - probability, _LEAST_PROBABILITY))


def _parse(body: bytes) -> tuple[bytes, Parameters]:
    """A file and parameters of a JSON body."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("malformed_request", f"the body is no JSON: {error}") from error
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, str):
        raise RequestError("malformed_request", "'inputs' must hold the file in base64")
    try:
        blob = base64.b64decode(inputs, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("malformed_request", f"'inputs' is not base64: {error}") from error
    return blob, _parameters(request.get("parameters") or {})


def _parameters(given: Any) -> Parameters:
    if not isinstance(given, dict):
        raise RequestError("malformed_request", "'parameters' must be an object")
    known = {key: value for key, value in given.items() if value is not None}
    unknown = sorted(set(known) - {"top_k", "function_to_apply"})
    if unknown:
        raise RequestError(
            "malformed_request",
            f"no parameter is called {', '.join(unknown)}; there are top_k and function_to_apply",
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
    return Parameters(top_k, cast("FunctionToApply | None", function))


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
