"""Annotations that Label Studio tells of, handed over to the feedback.

Taken is the label of a whole recording (``Choices``), several where the model says several at once;
regions and what was taken back there are not, and the log says so: an export of the project has
them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from earful.data.annotations.annotation import plain
from earful.data.audio.decode import AudioError
from earful.data.labels.multilabel import join_labels
from earful.service.classifier import Classifier
from earful.service.core.errors import RequestError
from earful.service.feedback.audio_files import sha256_of
from earful.service.feedback.records import Opinion
from earful.service.http.app_state import Service
from earful.service.http.routes.submit_feedback import heard_now
from earful.service.label_studio.label_config import Control, read_config
from earful.service.label_studio.task_audio import TaskAudio

SOURCE = "label-studio"
_TAKEN = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


@dataclass(frozen=True)
class Event:
    """What Label Studio tells of its annotations; ``annotation`` and ``task`` as it sent them."""

    action: str
    project: Any
    annotation: Mapping[str, Any]
    task: Mapping[str, Any]


async def hand_over(
    service: Service, audio: TaskAudio, event: Event, request: Request, deadline: float
) -> str:
    """Store the label that an event tells of; why it was not stored, or nothing."""
    desk = service.feedback
    if desk is None or event.action not in _TAKEN:
        return "" if desk else "feedback is off"
    try:
        control, label = _label(event, service.served().classifier)
        data = event.task.get("data")
        reference = data.get(control.field) if isinstance(data, dict) else None
        blob = await audio.read(reference if isinstance(reference, str) else "", deadline)
        if isinstance(blob, AudioError):
            return str(blob)
        with service.intake.holding(len(blob)):
            sha256 = await run_in_threadpool(sha256_of, blob)
            clip = await heard_now(service, request, sha256, blob, deadline)
            opinion = Opinion(sha256, label, _who(event), source=SOURCE, heard=clip.heard)
            await desk.take(opinion, (clip, blob), deadline)
    except (RequestError, AudioError) as error:
        return str(error)
    return ""


def _label(event: Event, classifier: Classifier) -> tuple[Control, str]:
    """What was chosen for the whole recording, and the control it was chosen in."""
    project = event.project if isinstance(event.project, dict) else {}
    controls = read_config(project.get("label_config"), classifier.labels)
    if event.annotation.get("was_cancelled"):
        raise _not_taken("the annotation was cancelled")
    found = event.annotation.get("result")
    entries = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    for control in (control for control in controls if control.kind == "choices"):
        values = _chosen(entries, control.name)
        chosen = [label for label in classifier.labels if control.value_of(label) in values]
        fits = len(chosen) == 1 or (classifier.says_several and len(chosen) > 1)
        if fits and len(chosen) == len(values):
            return control, join_labels(chosen)
    which = "no labels" if classifier.says_several else "no single label"
    raise _not_taken(f"{which} of the model were chosen for the whole recording")


def _chosen(entries: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The values that were chosen in a control; empty where it was asked of regions."""
    mine = [entry.get("value") for entry in entries if entry.get("from_name") == name]
    values = [value.get("choices") for value in mine if isinstance(value, dict)]
    if len(values) != 1 or not isinstance(values[0], list):
        return []
    return [value if isinstance(value, str) else "" for value in values[0]]


def _who(event: Event) -> str:
    """Who annotated, as Label Studio calls them: by address, else by number."""
    by = event.annotation.get("completed_by")
    known = by.get("email") or by.get("id") if isinstance(by, dict) else by
    return f"{SOURCE}:{plain(known)}"[:100]


def _not_taken(reason: str) -> RequestError:
    return RequestError("malformed_request", reason)
