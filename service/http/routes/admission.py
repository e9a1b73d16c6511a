"""Access checks of the feedback routes, and their common responses."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from earful.service.core.auth import Scope
from earful.service.core.errors import RequestError
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.http.app_state import Service
from earful.service.http.schemas import ErrorResponse, openapi_responses


def require_feedback(service: Service, request: Request, scope: Scope) -> FeedbackService:
    """Check that a request may use feedback, and return the feedback service.

    Raises:
        RequestError: ``unauthorized`` or ``forbidden`` (no key of the scope), or ``feedback_off``.
    """
    service.keys.check(request.headers, scope)
    if service.feedback is None:
        raise RequestError("feedback_off", "feedback is off; start the service with --feedback URL")
    return service.feedback


def feedback_responses(
    body: type[BaseModel] | None, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The documented responses of a route: ``body`` with ``status``, and all errors."""
    responses = openapi_responses(body or ErrorResponse, ErrorResponse)
    responses[404] = {"model": ErrorResponse, "description": "feedback is off, or not found"}
    success = responses.pop(200)
    return responses if body is None else {status: success, **responses}
