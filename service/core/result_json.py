"""Parts of results as JSON, the same in all responses and in stored jobs."""

from collections.abc import Sequence
from typing import Any

from earful.service.classifier import Window
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.events import Event


def event_json(event: Event) -> dict[str, Any]:
    return {
        "start": event.start,
        "end": event.end,
        "label": event.label,
        "score": round(event.score, SCORE_DIGITS),
    }


def window_json(window: Window) -> dict[str, Any]:
    return {
        "start": round(window.start_seconds, 6),
        "end": round(window.end_seconds, 6),
        "label": window.label,
        "score": round(window.score, SCORE_DIGITS),
    }


def label_scores(ranked: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Labels with their scores."""
    return [{"label": label, "score": round(score, SCORE_DIGITS)} for label, score in ranked]
