"""Refuses requests to another host's name, and what pages of other sites may not send.

    to a name that is not the service's own                   421 ``bad_host``
    a write, or a read of feedback, from another site's page  403 ``bad_origin``

Browsers name the page in ``Sec-Fetch-Site``, where the service is on https or localhost, and in
``Origin``. Other clients send neither.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Scope

from earful.service.core.errors import RequestError, malformed
from earful.service.core.host_names import SETTING, AllowedHosts, Host, parse_host

_READS = ("GET", "HEAD", "OPTIONS")
# Reads of what people have sent; others are public, or protected by the browser's own rules.
_PRIVATE_PATHS = ("/v1/feedback", "/v1/review", "/v1/jobs", "/v1/retrain")
_OWN_SITE = (b"same-origin", b"none")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def check_source(scope: Scope, allowed: AllowedHosts) -> None:
    """Check the headers of a request or of a WebSocket's handshake.

    Raises:
        RequestError: ``malformed_request`` (not one valid ``Host``), ``bad_host`` or
            ``bad_origin``.
    """
    hosts, origins, sites = [], [], []
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site":
            sites.append(value)
    host = _check_host(hosts, allowed)
    if (origins or sites) and _is_guarded(scope):
        _check_origin(host, origins, sites, allowed)


def _check_host(values: list[bytes], allowed: AllowedHosts) -> Host:
    host = parse_host(values[0]) if len(values) == 1 else None
    if host is None:
        raise malformed("send one Host header: NAME or ADDRESS, and a port")
    if not allowed.allows(host):
        raise RequestError(
            "bad_host",
            f"this service does not answer for {host.name[:80]!r}; if that is one of its names, "
            f"add it to {SETTING}",
        )
    return host


def _is_guarded(scope: Scope) -> bool:
    if scope["type"] == "websocket" or scope["method"] not in _READS:
        return True
    path: str = scope["path"]
    return path.startswith(_PRIVATE_PATHS)


def _check_origin(
    host: Host, origins: Iterable[bytes], sites: Iterable[bytes], allowed: AllowedHosts
) -> None:
    if any(site not in _OWN_SITE for site in sites):
        raise RequestError("bad_origin", "pages of other sites may not send this request")
    for origin in origins:
        if not _is_own(origin, host, allowed):
            raise RequestError(
                "bad_origin",
                f"a page of {origin[:80].decode('latin-1')!r} may not send this request to "
                f"{host.name[:80]!r}; if both are this service, let the proxy pass on Host, or add "
                f"the page's name to {SETTING}",
            )


def _is_own(origin: bytes, host: Host, allowed: AllowedHosts) -> bool:
    """Whether a page's origin is the service: by the host, or by a name that is listed for it."""
    try:
        parts = urlsplit(origin.decode("ascii"))
        port = parts.port
    except ValueError:
        return False
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    page = parse_host(parts.netloc.encode())
    if default_port is None or page is None:
        return False
    if page.name == host.name:
        # A proxy that terminates TLS passes on a Host without a port.
        return (port or default_port) == (host.port or default_port)
    return port in (None, default_port) and allowed.lists(page.name)
