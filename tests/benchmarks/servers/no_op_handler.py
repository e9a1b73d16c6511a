"""An ASGI handler that reads the body and answers the same bytes: what the server alone costs."""

from starlette.types import Receive, Scope, Send

BODY = b'{"label":"0"}'


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError  # uvicorn takes it for an app without a lifespan
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
