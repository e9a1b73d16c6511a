"""What Label Studio sends. Of what it may leave out, a value of another kind counts as left out."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from earful.data.text.json_input import STRICT
from earful.data.text.printable import printable_text
from earful.service.label_studio.label_config import Control

MAX_TASKS = 1000


def _object_or_empty(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> Any:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class LabelStudioObject(BaseModel):
    """An object of which some keys are read, and the others ignored."""

    model_config = STRICT | {"extra": "ignore"}


class Task(LabelStudioObject):
    id: Any = None
    data: Annotated[dict[str, Any], BeforeValidator(_object_or_empty)] = {}

    def audio_of(self, control: Control) -> str:
        """The path or URL of the audio that a control is for; empty if there is none."""
        reference = self.data.get(control.field)
        return reference if isinstance(reference, str) else ""


class ControlResult(LabelStudioObject):
    from_name: Any = None
    value: Any = None


class SentAnnotation(LabelStudioObject):
    id: Any = None
    was_cancelled: Any = False
    completed_by: Any = None
    result: Annotated[list[ControlResult], BeforeValidator(_objects)] = []


class SetupRequest(LabelStudioObject):
    label_config: str = Field(alias="schema", description="the labelling configuration")
    project: Any = None


class PredictRequest(LabelStudioObject):
    tasks: list[Task] = Field(fail_fast=True, json_schema_extra={"maxItems": MAX_TASKS})
    label_config: str = Field(description="the labelling configuration")


class WebhookEvent(LabelStudioObject):
    action: str = Field(min_length=1, examples=["ANNOTATION_CREATED"])
    project: Any = None
    annotation: Annotated[SentAnnotation, BeforeValidator(_object_or_empty)] = SentAnnotation()
    task: Annotated[Task, BeforeValidator(_object_or_empty)] = Task()

    @property
    def label_config(self) -> Any:
        return self.project.get("label_config") if isinstance(self.project, dict) else None


def id_text(value: Any) -> str:
    """The id of a project, which is sent as one or with one, safe for the log."""
    return printable_text(value.get("id") if isinstance(value, dict) else value)
