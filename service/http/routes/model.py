"""``GET /v1/model``: what the served model knows."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field

from earful.service.core.errors import json_response
from earful.service.http.app_state import Service
from earful.service.http.schemas import ErrorResponse, ModelInfo


class ModelResponse(ModelInfo):
    labels: list[str] = Field(examples=[["0", "1", "2"]])
    clip_seconds: float = Field(
        description="length of the model's input; a recording longer than 1.5 clips gives events",
        examples=[1.0],
    )
    sample_rate_hz: int = Field(description="audio is resampled to it", examples=[16_000])


def add_model_route(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/model",
        summary="What the served model knows: its labels, clip length and version",
        responses={
            200: {"model": ModelResponse},
            503: {"model": ErrorResponse, "description": "not ready"},
        },
    )
    async def model() -> Response:
        loaded_model = service.loaded_model()
        classifier = loaded_model.classifier
        content: dict[str, Any] = {
            **loaded_model.info,
            "labels": list(classifier.labels),
            "clip_seconds": classifier.metadata.features.clip_seconds,
            "sample_rate_hz": classifier.sample_rate_hz,
        }
        return json_response(content, headers={"Cache-Control": "no-cache"})
