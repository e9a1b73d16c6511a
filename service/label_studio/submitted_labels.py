"""Stores annotations from Label Studio's webhook as feedback.

Stored is the label of a whole recording (``Choices``), or several for a multi-label model. Regions
and deleted annotations are not stored, which the log says: an export of the project has them.
"""

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from earful.data.annotations.label_studio import annotator_text
from earful.data.audio.decode import AudioError
from earful.data.labels.multilabel import join_labels
from earful.service.classifier import Classifier
from earful.service.core.errors import RequestError, malformed
from earful.service.feedback.audio_files import sha256_of
from earful.service.feedback.records import FeedbackAnnotation
from earful.service.http.app_state import Service
from earful.service.http.routes.admission import sender_of
from earful.service.http.routes.submit_feedback import classify_recording
from earful.service.label_studio.label_config import Control, parse_label_config
from earful.service.label_studio.requests import SentAnnotation, WebhookEvent
from earful.service.label_studio.task_audio import TaskAudio

SOURCE = "label-studio"
_STORED_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


async def store_annotation(
    service: Service, audio: TaskAudio, event: WebhookEvent, request: Request, deadline: float
) -> str:
    """Store the label of an event; returns why it was not stored, else an empty string."""
    feedback_service = service.feedback
    if feedback_service is None or event.action not in _STORED_ACTIONS:
        return "" if feedback_service else "feedback is off"
    try:
        control, label = _label(event, service.loaded_model().classifier)
        blob = await audio.read(event.task.audio_of(control), deadline)
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
    controls = parse_label_config(event.label_config, classifier.labels)
    if event.annotation.was_cancelled:
        raise malformed("the annotation was cancelled")
    for control in (control for control in controls if control.kind == "choices"):
        values = _chosen_values(event.annotation, control.name)
        chosen = [label for label in classifier.labels if control.value_for(label) in values]
        is_valid = len(chosen) == 1 or (classifier.is_multi_label and len(chosen) > 1)
        if is_valid and len(chosen) == len(values):
            return control, join_labels(chosen)
    wanted = "labels" if classifier.is_multi_label else "exactly one label"
    raise malformed(f"the annotation does not choose {wanted} of the model for the recording")


def _chosen_values(annotation: SentAnnotation, name: str) -> list[str]:
    """The values chosen in a control; empty unless it has exactly one result."""
    values_of_control = [entry.value for entry in annotation.result if entry.from_name == name]
    values = [value.get("choices") for value in values_of_control if isinstance(value, dict)]
    if len(values) != 1 or not isinstance(values[0], list):
        return []
    return [value if isinstance(value, str) else "" for value in values[0]]


def _annotator(event: WebhookEvent) -> str:
    """The annotator's email address in Label Studio, else their id there."""
    return f"{SOURCE}:{annotator_text(event.annotation.completed_by)}"[:100]
