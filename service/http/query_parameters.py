"""Query parameters that a route does not have are refused: a mistyped one would be ignored."""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from earful.service.core.errors import RequestError

# Other routes are pages, or speak other services' protocols, whose clients may add parameters.
_CHECKED_PATHS = "/v1/"


def check_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Check that all parameters of a request are known.

    Raises:
        RequestError: ``unknown_parameter``.
    """
    known = sorted(known)
    for name in names:
        if name not in known:
            raise RequestError(
                "unknown_parameter",
                f"unknown parameter {name[:80]!r}; accepted: {', '.join(known) or 'none'}",
            )


async def refuse_unknown_parameters(connection: HTTPConnection) -> None:
    """Check the query of a request against the parameters that its route declares.

    Raises:
        RequestError: ``unknown_parameter``.
    """
    route = connection.scope.get("route")
    if not isinstance(route, APIRoute) or not connection.scope["query_string"]:
        return
    if route.path.startswith(_CHECKED_PATHS):
        declared = route.dependant.query_params
        check_known(connection.query_params, [field.alias for field in declared])
