"""The OpenAPI document behind ``/docs``: routes in groups, and the WebSocket, which it lacks.

A route belongs to the group with the longest prefix of its path.
"""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute

DESCRIPTION = """
Send audio, receive labels. A recording longer than 1.5 clips of the model also gives its events:
what was heard when.

Errors are `{"error": {"code", "message"}}` with a stable code. Where the operator has set API keys,
send one as `Authorization: Bearer KEY`.
"""


@dataclass(frozen=True)
class RouteGroup:
    """Routes shown together: those whose path starts with one of ``prefixes``."""

    name: str
    description: str
    prefixes: tuple[str, ...]


GROUPS = (
    RouteGroup(
        "Classify",
        "Files to labels and events.",
        ("/v1/classify", "/v1/model", "/v1/activation-map"),
    ),
    RouteGroup("Jobs", "Many or long files: upload now, fetch results later.", ("/v1/jobs",)),
    RouteGroup("Stream", "Live audio to events, over a WebSocket.", ("/v1/stream",)),
    RouteGroup("Feedback", "Correct labels of predictions.", ("/v1/feedback",)),
    RouteGroup("Review", "Saved recordings to label.", ("/v1/review",)),
    RouteGroup("Personal data", "Export and erase.", ("/v1/feedback/subjects",)),
    RouteGroup("Retraining", "A new version of the model from feedback.", ("/v1/retrain",)),
    RouteGroup("Hugging Face", "For clients of the task audio-classification.", ("/hf",)),
    RouteGroup("Open Inference Protocol", "For clients of Triton and KServe.", ("/v2",)),
    RouteGroup(
        "Label Studio",
        "As a machine-learning backend.",
        ("/predict", "/setup", "/webhook", "/health"),
    ),
    RouteGroup("Operation", "Health and metrics.", ("/livez", "/readyz", "/metrics")),
)


def group_routes(app: FastAPI) -> None:
    """Tag every documented route with its group; call it after all routes are added."""
    used = set()
    for route in app.routes:
        group = group_of(route.path) if isinstance(route, APIRoute) else None
        if isinstance(route, APIRoute) and route.include_in_schema and group is not None:
            route.tags = [group]
            used.add(group)
    app.openapi_tags = [
        {"name": group.name, "description": group.description}
        for group in GROUPS
        if group.name in used
    ]


def group_of(path: str) -> str | None:
    """The name of the group of a path; None if it belongs to none."""
    fitting = [
        (len(prefix), group.name)
        for group in GROUPS
        for prefix in group.prefixes
        if path == prefix or path.startswith(f"{prefix}/")
    ]
    return max(fitting)[1] if fitting else None
