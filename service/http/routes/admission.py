"""Who may ask the routes of feedback, and what all of them may answer."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from earful.service.core.auth import Scope
from earful.service.core.errors import RequestError
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.http.app_state import Service
from earful.service.http.schemas import ErrorResponse, openapi_responses


def require_feedback(service: Service, request: Request, scope: Scope) -> FeedbackService:
    """The desk, for a request that may be made now.

    Raises:
        RequestError: no key for it, feedback is off, or a page from elsewhere asks through
            somebody's browser.
    """
    service.keys.check(request.headers, scope)
    check_same_site(request)
    if service.feedback is None:
        raise RequestError(
            "feedback_off", "this service keeps no feedback; start it with --feedback URL"
        )
    return service.feedback


def check_same_site(request: Request) -> None:
    """See that no page from elsewhere asks this through somebody's browser.

    Raises:
        RequestError: ``forbidden``.
    """
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise RequestError("forbidden", "pages of other sites may not ask this")


def feedback_responses(
    body: type[BaseModel] | None, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: ``found``, and every refusal."""
    all_answers = openapi_responses(body or ErrorResponse, ErrorResponse)
    all_answers[404] = {
        "model": ErrorResponse,
        "description": "feedback is off, or nothing is there",
    }
    good = all_answers.pop(200)
    return all_answers if body is None else {status: good, **all_answers}
