"""Access checks of the feedback routes, and their common responses."""

import ipaddress
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


def sender_of(service: Service, feedback_service: FeedbackService, request: Request) -> str:
    """A pseudonym of who sends a request: of its key, without keys of its client's address."""
    owner = service.keys.owner(request.headers)
    return feedback_service.ids.pseudonym(owner or _network(request))


def _network(request: Request) -> str:
    """The client's address; of IPv6 its network, as one sender has 2**64 addresses in it."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a Unix socket has none
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((int(address), 64), strict=False))


def feedback_responses(
    body: type[BaseModel] | None, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The documented responses of a route: ``body`` with ``status``, and all errors."""
    not_found = {"model": ErrorResponse, "description": "feedback is off, or not found"}
    return openapi_responses(body, ErrorResponse, status) | {404: not_found}
