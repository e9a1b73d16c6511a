"""Label Studio's labelling configuration: what a project calls its controls, its audio and labels.

    <View><Audio name="audio" value="$audio"/>
      <Choices name="label" toName="audio" choice="multiple"><Choice value="seven"/></Choices>
      <Labels name="event" toName="audio"><Label value="call" alias="c"/></Labels></View>

Source: Label Studio's documentation of the tags Audio, Choices and Labels. The XML comes from
outside: one with a document type, which could declare entities, is refused unread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast
from xml.etree import ElementTree

from earful.service.core.errors import RequestError

_MAX_CHARACTERS = 1 << 20
_AUDIO_TAGS = ("audio", "audioplus")
_ITEM_TAGS: dict[str, str] = {"choices": "choice", "labels": "label"}

ControlKind = Literal["choices", "labels"]


@dataclass(frozen=True)
class Control:
    """A control that takes labels of a recording (``choices``) or of its regions (``labels``).

    ``audio`` is the name of its audio, ``field`` the one of the task's data that holds that.
    ``values`` are what is written for each label that is offered; None where each task offers its
    own. ``several`` is whether more than one may be chosen at once.
    """

    kind: ControlKind
    name: str
    audio: str
    field: str
    values: dict[str, str] | None
    allows_multiple: bool

    def value_for(self, label: str) -> str | None:
        """What to write for a label; None where it is not offered."""
        return label if self.values is None else self.values.get(label)


def parse_label_config(text: object, labels: Sequence[str]) -> list[Control]:
    """The controls of one audio of a configuration that offer at least one of the labels.

    Raises:
        RequestError: ``malformed_request``: no such XML, or no such control.
    """
    root = _parse_xml(text)
    fields = {
        tag.get("name", ""): tag.get("value", "").removeprefix("$")
        for tag in root.iter()
        if tag.tag.lower() in _AUDIO_TAGS
    }
    found = [c for tag in root.iter() if (c := _control(tag, fields)) is not None]
    matching = [c for c in found if any(c.value_for(label) is not None for label in labels)]
    if not matching:
        names = ", ".join(repr(c.name) for c in found) or "none for audio"
        raise _malformed(
            "the labelling configuration has no Choices or Labels for an Audio that offer a label "
            f"of this model ({', '.join(labels[:20])}); its controls: {names}"
        )
    return [control for control in matching if control.audio == matching[0].audio]


def _parse_xml(text: object) -> ElementTree.Element:
    if not isinstance(text, str) or not text.strip():
        raise _malformed("the labelling configuration is missing")
    if len(text) > _MAX_CHARACTERS:
        raise _malformed(f"a labelling configuration has at most {_MAX_CHARACTERS} characters")
    if "<!DOCTYPE" in text.upper():
        raise _malformed("a labelling configuration with a DOCTYPE is not accepted")
    try:
        # Without a document type there is no entity that could expand or lead elsewhere.
        return ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError) as error:
        raise _malformed(f"the labelling configuration is no XML: {error}") from error


def _control(tag: ElementTree.Element, fields: dict[str, str]) -> Control | None:
    kind = tag.tag.lower()
    audio = next((n for n in tag.get("toName", "").split(",") if n.strip() in fields), "").strip()
    if kind not in _ITEM_TAGS or audio not in fields or tag.get("perRegion") == "true":
        return None
    values: dict[str, str] = {}
    for item in tag.iter():
        value = item.get("value")
        if item.tag.lower() == _ITEM_TAGS[kind] and value:
            # What is stored is the alias, where there is one; people name labels by either.
            alias = item.get("alias") or value
            values |= {value: alias, alias: alias}
    from_task = tag.get("value", "").startswith("$") or not values
    return Control(
        cast("ControlKind", kind), tag.get("name", ""), audio, fields[audio],
        None if from_task else values, tag.get("choice") == "multiple",
    )  # fmt: skip


def _malformed(message: str) -> RequestError:
    return RequestError("malformed_request", message)
