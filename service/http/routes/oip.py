"""``/v2``: the Open Inference Protocol, so that clients of Triton and KServe work unchanged.

The model's input is ``waveform`` FP32 (batch, samples), its output ``probabilities`` FP32 (batch,
labels), in JSON or in Triton's binary form. Errors are ``{"error": "..."}``.
Source: kserve/open-inference-protocol (inference_rest.md) and Triton's binary tensor extension.
"""

import re
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from earful.data.audio.decode import MAX_SAMPLE_MAGNITUDE
from earful.data.text.json_input import STRICT
from earful.service.core.errors import RequestError, json_response, malformed, to_json
from earful.service.http.app_state import Service
from earful.service.http.request_body import parse_body
from earful.service.http.schemas import PlainErrorResponse, json_body, openapi_responses
from earful.service.inference.hot_reload import LoadedModel

PLATFORM = "onnx_onnxv1"
INPUT, OUTPUT = "waveform", "probabilities"
# Limit of the JSON part, because parsing blocks other requests. Binary tensors may be larger.
_MAX_JSON_BYTES = 4 << 20
# Header with the length of the JSON part of a binary request or response.
_JSON_LENGTH = "Inference-Header-Content-Length"


Numbers = Annotated[list[float], Field(fail_fast=True)]


class OipObject(BaseModel):
    """An object of the protocol; what extensions of other servers add is ignored."""

    model_config = STRICT | {"extra": "ignore"}


class TensorParameters(OipObject):
    binary_data_size: int | None = None


class InputTensor(OipObject):
    name: Literal["waveform"]
    datatype: Literal["FP32"]
    shape: Annotated[
        list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2, examples=[[1, 8000]])
    ]
    parameters: TensorParameters | None = None
    data: Numbers | Annotated[list[Numbers], Field(fail_fast=True)] | None = None


class OutputParameters(OipObject):
    binary_data: bool | None = None


class RequestedOutput(OipObject):
    name: Literal["probabilities"]
    parameters: OutputParameters | None = None


class RequestParameters(OipObject):
    binary_data_output: bool | None = None


class InferRequest(OipObject):
    """A request; ``id`` is returned with the response."""

    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    id: str | None = None
    outputs: Annotated[list[RequestedOutput], Field(min_length=1, max_length=1)] | None = None
    parameters: RequestParameters | None = None

    @property
    def wants_binary(self) -> bool:
        if self.outputs is None:
            return self.parameters is not None and self.parameters.binary_data_output is True
        parameters = self.outputs[0].parameters
        return parameters is not None and parameters.binary_data is True


def add_oip_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v2", summary="Server metadata")
    async def server() -> dict[str, Any]:
        return {
            "name": "earful",
            "version": version("earful"),
            "extensions": ["binary_tensor_data"],
        }

    @app.get("/v2/health/live", summary="The process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="A model is loaded and warm")
    async def ready() -> dict[str, bool]:
        service.ready()
        return {"ready": True}

    _add_model_routes(app, service, "/v2/models/{name}")
    _add_model_routes(app, service, "/v2/models/{name}/versions/{number}")


def _add_model_routes(app: FastAPI, service: Service, path: str) -> None:
    # Operation ids must differ between the paths with and without a version.
    suffix = "_of_version" if "versions" in path else ""
    parameters = [
        {"name": key, "in": "path", "required": True, "schema": {"type": "string"}}
        for key in ("name", "number")
        if f"{{{key}}}" in path
    ]
    not_found_response: dict[int | str, dict[str, Any]] = {
        404: {"model": PlainErrorResponse, "description": "no such model"}
    }

    @app.get(
        path,
        summary="Model metadata",
        responses=not_found_response,
        operation_id="metadata" + suffix,
        openapi_extra={"parameters": parameters},
    )
    async def metadata(request: Request) -> Response:
        return json_response(_metadata(_require_named_model(request, service.loaded_model())))

    @app.get(
        path + "/ready",
        summary="The model is ready",
        responses=not_found_response,
        operation_id="model_ready" + suffix,
        openapi_extra={"parameters": parameters},
    )
    async def model_ready(request: Request) -> Response:
        loaded_model = _require_named_model(request, service.loaded_model())
        return json_response({"name": loaded_model.info["name"], "ready": True})

    @app.post(
        path + "/infer",
        summary="Probabilities of waveforms",
        openapi_extra=json_body(InferRequest) | {"parameters": parameters},
        operation_id="infer" + suffix,
        responses=openapi_responses(None, PlainErrorResponse)
        | not_found_response
        | {200: {"description": ""}},
    )
    async def infer(request: Request) -> Response:
        deadline = service.deadline()
        loaded_model = _require_named_model(request, service.admit(request.headers, "classify"))
        with service.open_body(request, deadline) as body:
            max_clips = service.settings.max_files
            samples = loaded_model.classifier.metadata.features.clip_samples
            blob = await body.read_all(_MAX_JSON_BYTES + max_clips * samples * 4)
            infer_request, clips = await run_in_threadpool(
                _parse, blob, request.headers.get(_JSON_LENGTH), loaded_model, max_clips
            )
            predictions = await service.predict(list(clips), loaded_model, deadline, request)
        scores = np.stack([prediction.best.scores for prediction in predictions])
        return _infer_response(scores, infer_request, loaded_model)


def _require_named_model(request: Request, loaded_model: LoadedModel) -> LoadedModel:
    """The served model if the path names it; otherwise status 404."""
    name, number = request.path_params["name"], request.path_params.get("number")
    if name != loaded_model.info["name"]:
        raise HTTPException(404, f"no model {name!r}; {loaded_model.info['name']} is served")
    if number not in (None, loaded_model.info["version"]):
        raise HTTPException(404, f"no version {number!r}; {loaded_model.info['version']} is served")
    return loaded_model


def _metadata(loaded_model: LoadedModel) -> dict[str, Any]:
    metadata = loaded_model.classifier.metadata
    return {
        "name": loaded_model.info["name"],
        "versions": [loaded_model.info["version"]],
        "platform": PLATFORM,
        "inputs": [
            {"name": INPUT, "datatype": "FP32", "shape": [-1, metadata.features.clip_samples]}
        ],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(metadata.labels)]}],
        "parameters": {"labels": ",".join(metadata.labels), "score_kind": metadata.score_kind},
    }


def _parse(
    blob: bytes, json_length: str | None, loaded_model: LoadedModel, max_clips: int
) -> tuple[InferRequest, NDArray[np.float32]]:
    """A request and its clips (batch, clip_samples), of which there may be ``max_clips``.

    Raises:
        RequestError: ``malformed_request``, ``too_large`` or ``too_many_files``.
    """
    end = _json_end(json_length, len(blob))
    if end > _MAX_JSON_BYTES:
        raise RequestError(
            "too_large",
            f"more than {_MAX_JSON_BYTES} bytes of JSON; send binary tensors, or fewer clips",
        )
    request = parse_body(InferRequest, blob[:end])
    return request, _clips(request.inputs[0], blob[end:], loaded_model, max_clips)


def _json_end(json_length: str | None, size: int) -> int:
    if json_length is None:
        return size
    if not re.fullmatch(r"[0-9]{1,12}", json_length) or int(json_length) > size:
        raise malformed(f"{_JSON_LENGTH} is {json_length[:100]!r}, but the body has {size} bytes")
    return int(json_length)


def _clips(
    tensor: InputTensor, binary: bytes, loaded_model: LoadedModel, max_clips: int
) -> NDArray[np.float32]:
    """The validated input tensor (batch, clip_samples)."""
    samples = loaded_model.classifier.metadata.features.clip_samples
    batch, length = tensor.shape
    if length != samples:
        raise malformed(f"the shape of {INPUT} must be [batch, {samples}], found {tensor.shape}")
    if batch > max_clips:
        raise RequestError("too_many_files", f"at most {max_clips} clips are accepted in a batch")
    values = _values(tensor, binary)
    # Nested or flat, as the protocol allows.
    if values.size != batch * samples or (values.ndim == 2 and len(values) != batch):
        raise malformed(f"the shape {tensor.shape} does not fit data of {list(values.shape)}")
    if not np.abs(values).max() <= MAX_SAMPLE_MAGNITUDE:  # also refuses NaN
        raise malformed(f"{INPUT} has values that are not finite or far beyond full scale 1.0")
    return values.reshape(batch, samples)


def _values(tensor: InputTensor, binary: bytes) -> NDArray[np.float32]:
    size = None if tensor.parameters is None else tensor.parameters.binary_data_size
    if size is not None:
        if size != len(binary) or len(binary) % 4:
            raise malformed(f"binary_data_size is {size}, found {len(binary)} bytes")
        return np.frombuffer(binary, "<f4").astype(np.float32)
    try:
        with np.errstate(over="ignore"):
            return np.asarray(tensor.data, np.float64).astype(np.float32)
    except ValueError as error:
        raise malformed(f"the clips in 'data' of {INPUT} differ in length") from error


def _infer_response(
    scores: NDArray[np.float32], infer_request: InferRequest, loaded_model: LoadedModel
) -> Response:
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(scores.shape)}
    content = {
        "model_name": loaded_model.info["name"],
        "model_version": loaded_model.info["version"],
        **({"id": infer_request.id} if infer_request.id is not None else {}),
        "outputs": [output],
    }
    if not infer_request.wants_binary:
        output["data"] = [round(float(score), 9) for score in scores.ravel()]
        return json_response(content)
    binary = scores.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(binary)}
    json_part = to_json(content)
    return Response(
        json_part + binary,
        media_type="application/octet-stream",
        headers={_JSON_LENGTH: str(len(json_part))},
    )
