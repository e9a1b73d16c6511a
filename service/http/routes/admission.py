"""Access checks of the feedback routes, and their common errors."""

import ipaddress

from fastapi import Request

from earful.service.core.auth import Scope
from earful.service.core.errors import RequestError
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.http.app_state import Service

FEEDBACK_ERRORS = {404: "feedback is off, or not found"}


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
