"""Stores annotations from Label Studio's webhook as feedback.

Stored is the label of a whole recording (``Choices``), or several for a multi-label model. Regions
and deleted annotations are not stored, which the log says: an export of the project has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from earful.data.annotations.annotation import printable_text
from earful.data.audio.decode import AudioError
from earful.data.labels.multilabel import join_labels
from earful.service.classifier import Classifier
from earful.service.core.errors import RequestError
from earful.service.feedback.audio_files import sha256_of
from earful.service.feedback.records import FeedbackAnnotation
from earful.service.http.app_state import Service
from earful.service.http.routes.admission import sender_of
from earful.service.http.routes.submit_feedback import classify_recording
from earful.service.label_studio.label_config import Control, parse_label_config
from earful.service.label_studio.task_audio import TaskAudio

SOURCE = "label-studio"
_STORED_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


@dataclass(frozen=True)
class WebhookEvent:
    """A webhook call; ``project``, ``annotation`` and ``task`` as Label Studio sent them."""

    action: str
    project: Any
    annotation: Mapping[str, Any]
    task: Mapping[str, Any]


async def store_annotation(
    service: Service, audio: TaskAudio, event: WebhookEvent, request: Request, deadline: float
) -> str:
    """Store the label of an event; returns why it was not stored, else an empty string."""
    feedback_service = service.feedback
    if feedback_service is None or event.action not in _STORED_ACTIONS:
        return "" if feedback_service else "feedback is off"
    try:
        control, label = _label(event, service.loaded_model().classifier)
        data = event.task.get("data")
        reference = data.get(control.field) if isinstance(data, dict) else None
        blob = await audio.read(reference if isinstance(reference, str) else "", deadline)
        if isinstance(blob, AudioError):
            return str(blob)
        with service.upload_budget.reserved(len(blob)):
            sha256 = await run_in_threadpool(sha256_of, blob)
            clip = await classify_recording(service, request, sha256, blob, deadline)
            feedback_annotation = FeedbackAnnotation(
                sha256,
                label,
                _annotator(event),
                source=SOURCE,
                prediction=clip.prediction,
                sender=sender_of(service, feedback_service, request),
            )
            await feedback_service.submit_feedback(feedback_annotation, (clip, blob), deadline)
    except (RequestError, AudioError) as error:
        return str(error)
    return ""


def _label(event: WebhookEvent, classifier: Classifier) -> tuple[Control, str]:
    """The control of the whole recording, and the label chosen in it."""
    project = event.project if isinstance(event.project, dict) else {}
    controls = parse_label_config(project.get("label_config"), classifier.labels)
    if event.annotation.get("was_cancelled"):
        raise _not_stored("the annotation was cancelled")
    result = event.annotation.get("result")
    entries = [e for e in result if isinstance(e, dict)] if isinstance(result, list) else []
    for control in (control for control in controls if control.kind == "choices"):
        values = _chosen_values(entries, control.name)
        chosen = [label for label in classifier.labels if control.value_for(label) in values]
        is_valid = len(chosen) == 1 or (classifier.is_multi_label and len(chosen) > 1)
        if is_valid and len(chosen) == len(values):
            return control, join_labels(chosen)
    wanted = "labels" if classifier.is_multi_label else "exactly one label"
    raise _not_stored(f"the annotation does not choose {wanted} of the model for the recording")


def _chosen_values(entries: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The values chosen in a control; empty unless it has exactly one result."""
    values_of_control = [entry.get("value") for entry in entries if entry.get("from_name") == name]
    values = [value.get("choices") for value in values_of_control if isinstance(value, dict)]
    if len(values) != 1 or not isinstance(values[0], list):
        return []
    return [value if isinstance(value, str) else "" for value in values[0]]


def _annotator(event: WebhookEvent) -> str:
    """The annotator's email address in Label Studio, else their id there."""
    completed_by = event.annotation.get("completed_by")
    annotator_id = (
        completed_by.get("email") or completed_by.get("id")
        if isinstance(completed_by, dict)
        else completed_by
    )
    return f"{SOURCE}:{printable_text(annotator_id)}"[:100]


def _not_stored(reason: str) -> RequestError:
    return RequestError("malformed_request", reason)
