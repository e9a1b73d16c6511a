"""The pages ``/`` and ``/review``: static files, without a build step or third-party requests."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException

_WEB = Path(__file__).parents[2] / "web"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ogg": "audio/ogg",
}
# Nothing from other origins, nothing inline; audio players read blobs that the page creates.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_page_routes(app: FastAPI) -> None:
    files = {
        path.relative_to(_WEB).as_posix(): path
        for path in sorted(_WEB.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file(files["index.html"])

    @app.head("/review", include_in_schema=False)
    @app.get("/review", include_in_schema=False)
    async def review() -> Response:
        return _file(files["review.html"])

    @app.head("/web/{name:path}", include_in_schema=False)
    @app.get("/web/{name:path}", include_in_schema=False)
    async def web_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "no such file")
        return _file(files[name])


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=_MEDIA_TYPES[path.suffix], headers=_HEADERS)
