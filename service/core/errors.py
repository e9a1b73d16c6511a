"""Errors of the service, and the HTTP status of every error code.

    RequestError                  the request: malformed, too large, too late, not allowed
    data.audio.decode.AudioError  one file of the request is unusable

Both carry a stable code. Codes missing from the table are those of audio that decodes but is
unusable.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

STATUS_BY_CODE = {
    "malformed_request": 400,
    "unknown_parameter": 400,
    "no_file": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "bad_origin": 403,
    "feedback_off": 404,
    "unknown_prediction": 404,
    "recording_not_found": 404,
    "job_not_found": 404,
    "too_slow": 408,
    "no_registry": 409,
    "already_running": 409,
    "idempotency_key_reused": 409,
    "label_not_offered": 422,
    "too_large": 413,
    "too_long": 413,
    "too_many_files": 413,
    "unsupported_format": 415,
    "bad_host": 421,
    "unknown_label": 422,
    "recording_mismatch": 422,
    "upgrade_required": 426,
    "queue_full": 429,
    "too_many_labels": 429,
    "headers_too_large": 431,
    "client_disconnected": 499,  # never read; nginx's code for a client that disconnected
    "internal_error": 500,
    "inference_failed": 500,
    "no_training": 501,
    "not_ready": 503,
    "draining": 503,
    "feedback_unavailable": 503,
    "too_many_connections": 503,
    "jobs_off": 503,
    "jobs_unavailable": 503,
    "deadline_passed": 504,
    "disk_full": 507,
}
UNUSABLE_AUDIO_STATUS = 422
# Codes that ``Service.count_rejected`` counts for each file.
COUNTED_PER_FILE = ("inference_failed",)


class RequestError(Exception):
    """A request that is refused; ``code`` is one of ``STATUS_BY_CODE``."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(message)


def too_large(max_bytes: int) -> RequestError:
    """The error of a body, or of a file that its request fails for."""
    return RequestError(
        "too_large", f"at most {max_bytes} bytes are accepted", {"Connection": "close"}
    )


_encode_any = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def to_json(content: Any) -> bytes:
    """JSON without spaces, as UTF-8. Not finite numbers, which no model gives, are null."""
    try:
        return orjson.dumps(content)
    except TypeError:  # among others a lone surrogate, which a request may hold
        return _encode_any(content).encode()


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response; unlike the framework's, it does not create an encoder for each response."""
    return Response(to_json(content), status, dict(headers or {}), media_type="application/json")


def malformed(message: str) -> RequestError:
    return RequestError("malformed_request", message)


def http_status(code: str) -> int:
    return STATUS_BY_CODE.get(code, UNUSABLE_AUDIO_STATUS)


def error_response(
    code: str,
    message: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    results: Sequence[Mapping[str, Any]] = (),
) -> Response:
    """An error response; ``results`` has the error of each of several files, and any events."""
    content: dict[str, Any] = {"error": {"code": code, "message": message}}
    if len(results) > 1 or any("events" in result for result in results):
        content["results"] = list(results)
    return json_response(content, status or http_status(code), headers)
