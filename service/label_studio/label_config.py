"""Parses Label Studio's labelling configuration: the names of controls, audio and labels.

    <View><Audio name="audio" value="$audio"/>
      <Choices name="label" toName="audio" choice="multiple"><Choice value="seven"/></Choices>
      <Labels name="event" toName="audio"><Label value="call" alias="c"/></Labels></View>

Source: Label Studio's documentation of the tags Audio, Choices and Labels. The XML is untrusted:
a DOCTYPE, which could declare entities, is refused before parsing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast
from xml.etree import ElementTree

from earful.service.core.errors import malformed

_MAX_CHARACTERS = 1 << 20
_AUDIO_TAGS = ("audio", "audioplus")
_ITEM_TAGS: dict[str, str] = {"choices": "choice", "labels": "label"}

ControlKind = Literal["choices", "labels"]


@dataclass(frozen=True)
class Control:
    """A control for labels of a recording (``choices``) or of its regions (``labels``).

    audio            name of its Audio tag
    field            key of the task's data that holds the audio's path or URL
    values           value to write for each offered label; None when each task has its own labels
    allows_multiple  whether several labels can be chosen
    """

    kind: ControlKind
    name: str
    audio: str
    field: str
    values: dict[str, str] | None
    allows_multiple: bool

    def value_for(self, label: str) -> str | None:
        """The value to write for a label; None when the control does not offer it."""
        return label if self.values is None else self.values.get(label)


def parse_label_config(text: object, labels: Sequence[str]) -> list[Control]:
    """The controls of one Audio tag that offer at least one of the model's labels.

    Raises:
        RequestError: ``malformed_request``: invalid XML, or no such control.
    """
    root = _parse_xml(text)
    fields = {
        tag.get("name", ""): tag.get("value", "").removeprefix("$")
        for tag in root.iter()
        if tag.tag.lower() in _AUDIO_TAGS
    }
    controls = [c for tag in root.iter() if (c := _control(tag, fields)) is not None]
    matching = [c for c in controls if any(c.value_for(label) is not None for label in labels)]
    if not matching:
        names = ", ".join(repr(c.name) for c in controls) or "none for audio"
        raise malformed(
            "the labelling configuration needs Choices or Labels for an Audio tag with a label of "
            f"this model ({', '.join(labels[:20])}); found controls: {names}"
        )
    return [control for control in matching if control.audio == matching[0].audio]


def _parse_xml(text: object) -> ElementTree.Element:
    if not isinstance(text, str) or not text.strip():
        raise malformed("the labelling configuration is missing")
    if len(text) > _MAX_CHARACTERS:
        raise malformed(f"the labelling configuration has more than {_MAX_CHARACTERS} characters")
    if "<!DOCTYPE" in text.upper():
        raise malformed("a labelling configuration with a DOCTYPE is not accepted")
    try:
        # Safe: without a DOCTYPE there are no entities to expand or fetch.
        return ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError) as error:
        raise malformed(f"the labelling configuration is not valid XML: {error}") from error


def _control(tag: ElementTree.Element, fields: dict[str, str]) -> Control | None:
    kind = tag.tag.lower()
    audio = next((n for n in tag.get("toName", "").split(",") if n.strip() in fields), "").strip()
    if kind not in _ITEM_TAGS or audio not in fields or tag.get("perRegion") == "true":
        return None
    values: dict[str, str] = {}
    for item in tag.iter():
        value = item.get("value")
        if item.tag.lower() == _ITEM_TAGS[kind] and value:
            # Label Studio stores the alias; the model's label may be the value or the alias.
            alias = item.get("alias") or value
            values |= {value: alias, alias: alias}
    from_task = tag.get("value", "").startswith("$") or not values
    return Control(
        kind=cast("ControlKind", kind),
        name=tag.get("name", ""),
        audio=audio,
        field=fields[audio],
        values=None if from_task else values,
        allows_multiple=tag.get("choice") == "multiple",
    )
