"""The HTTP service: ``create_app(settings)`` and its routes.

Errors are ``{"error": {"code", "message"}}`` with a stable code; audio that cannot be used is the
client's error, never a 500.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from data.audio import AudioError, Waveform
from service.classifier import Classifier, Prediction, classify_each
from service.settings import Settings
from service.uploads import RequestError, read_files

# Codes not named here are audio that decodes and cannot be used.
STATUS_BY_CODE = {
    "malformed_request": 400,
    "no_file": 400,
    "too_large": 413,
    "too_long": 413,
    "too_many_files": 413,
    "unsupported_format": 415,
    "not_ready": 503,
}
UNUSABLE_AUDIO = 422
SCORE_DIGITS = 6


@dataclass
class _State:
    """What the running service holds: nothing until the model is loaded and warm."""

    classifier: Classifier | None = None


def create_app(settings: Settings) -> FastAPI:
    """The service for one model; the model is loaded when the service starts.

    Raises:
        ModelError: at start, when the model cannot be used.
    """
    state = _State()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Opening runs the golden example, so the session is warm before it is ready.
        state.classifier = await run_in_threadpool(
            Classifier.open, settings.model, settings.device, reject=settings.reject
        )
        yield
        state.classifier = None

    # FastAPI's own /docs loads its scripts from the internet.
    app = FastAPIOffline(title="Earshot", lifespan=lifespan, version="1")
    app.add_exception_handler(RequestError, _answer_error)
    app.add_exception_handler(AudioError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_fault)
    _add_health_routes(app, state)
    _add_classify_route(app, state, settings)
    return app


def _add_health_routes(app: FastAPI, state: _State) -> None:
    @app.get("/livez", summary="The process answers")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="A model is loaded and warm")
    async def readyz() -> dict[str, Any]:
        classifier = _ready(state)
        return {"status": "ready", "model": _model_info(classifier)}


def _add_classify_route(app: FastAPI, state: _State, settings: Settings) -> None:
    @app.post("/v1/classify", summary="Classify one file or many", openapi_extra=_REQUEST_BODY)
    async def classify(request: Request) -> JSONResponse:
        classifier = _ready(state)
        files = await read_files(request, settings)
        results = await run_in_threadpool(_classify, classifier, files, settings)
        if all("error" in result for result in results):
            first = results[0]["error"]
            return _error(first["code"], first["message"], results=results)
        return JSONResponse({"model": _model_info(classifier), "results": results})


def _classify(
    classifier: Classifier, files: list[tuple[str, bytes]], settings: Settings
) -> list[dict[str, Any]]:
    limits = settings.limits()

    def waveforms() -> Iterator[Waveform | AudioError]:
        for _, blob in files:
            try:
                yield classifier.decode(blob, limits).waveform
            except AudioError as error:
                yield error

    found = classify_each(classifier, waveforms())
    return [_result(name, result) for (name, _), result in zip(files, found, strict=True)]


def _result(filename: str, result: Prediction | AudioError) -> dict[str, Any]:
    if isinstance(result, AudioError):
        return {"filename": filename, "error": {"code": result.code, "message": str(result)}}
    ranked = result.ranked()
    return {
        "filename": filename,
        "seconds": round(result.seconds, 6),
        "label": result.label,
        "score": round(result.score, SCORE_DIGITS),
        "scores": [{"label": n, "score": round(s, SCORE_DIGITS)} for n, s in ranked],
        "windows": [
            {
                "start": round(window.start_seconds, 6),
                "end": round(window.end_seconds, 6),
                "label": window.label,
                "score": round(window.score, SCORE_DIGITS),
            }
            for window in result.windows
        ],
    }


def _ready(state: _State) -> Classifier:
    if state.classifier is None:
        raise RequestError("not_ready", "no model is loaded; try again shortly")
    return state.classifier


def _model_info(classifier: Classifier) -> dict[str, Any]:
    metadata = classifier.metadata
    return {
        "name": classifier.bundle.path.stem,
        "version": classifier.bundle.sha256[:12],
        "architecture": metadata.architecture["name"],
        "created": metadata.created,
    }


def _status(code: str) -> int:
    return STATUS_BY_CODE.get(code, UNUSABLE_AUDIO)


def _error(
    code: str,
    message: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    results: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    """An error's answer; of several files that all failed, ``results`` tells of each."""
    content: dict[str, Any] = {"error": {"code": code, "message": message}}
    if results is not None and len(results) > 1:
        content["results"] = results
    return JSONResponse(content, status or _status(code), dict(headers or {}))


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestError | AudioError):
        raise error
    return _error(error.code, str(error))


async def _answer_http_error(_request: Request, error: Exception) -> JSONResponse:
    """The framework's own refusals (no such route, wrong method), in our shape."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return _error(code, str(error.detail), error.status_code, error.headers)


async def _answer_fault(_request: Request, _fault: Exception) -> JSONResponse:
    """A fault of ours, in the shape of every error; the server logs its traceback."""
    return _error("internal_error", "the service failed on this request", 500)


_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
