"""Label Studio's tasks: its JSON export read, and the results that it takes, written.

A task is ``{"data": {"audio": ...}, "annotations": [...]}``; an annotation has a ``result`` for
each control: choices for the whole recording, labels for a region, in seconds. Before version 1
the annotations were called completions. Sources: its documentation, "Export annotations",
"Import pre-annotated data", and the tags Audio, Choices and Labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import Found, Problem, Provenance, plain, seconds_of
from earful.data.annotations.choices import Rule
from earful.data.annotations.json_files import read_objects
from earful.data.annotations.label_studio_tasks import Heard, Opined, Task, collect

FORMAT = "label-studio"
# Our own names of what Label Studio has no field for; it keeps them with the task.
EARFUL = "earful_"


def read_tasks(source: Path, audio_dir: Path | None, controls: Sequence[str], rule: Rule) -> Found:
    """The labels of an export as JSON: a file, or a folder with a file a task.

    ``controls`` are the names of those whose answers are labels; needed where there are several.

    Raises:
        AnnotationError: no such export; controls that are not certain; disagreements under
            ``error``.
    """
    found = Found()
    tasks = []
    for where, value in read_objects(source):
        task = _task(where, value, f"{FORMAT}:{source.name}", found)
        if task is not None:
            tasks.append(task)
    folder = audio_dir or (source if source.is_dir() else source.parent)
    collect(tasks, folder, controls, rule, found)
    return found


def _task(where: str, value: Mapping[str, Any], source: str, found: Found) -> Task | None:
    if isinstance(value.get("task"), dict) and isinstance(value.get("result"), list):
        # A storage of annotations holds them the other way round.
        value = {**value["task"], "annotations": [value]}
    data = value.get("data")
    annotations = value.get("annotations", value.get("completions", []))
    if "id" in value:
        where = f"{where} (id {plain(value['id'])})"
    if not isinstance(data, dict) or not isinstance(annotations, list):
        reason = "no task: it has 'data' with the audio and a list of 'annotations'"
        found.problems.append(Problem(where, "bad_task", reason))
        return None
    opinions = []
    for annotation in annotations:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
            found.problems.append(Problem(where, "bad_task", "an annotation without a 'result'"))
        elif annotation.get("was_cancelled"):
            found.skipped.append(Problem(where, "cancelled", "an annotation was cancelled"))
        else:
            opinions.append(_opined(where, annotation, source, data, found))
    if not annotations:
        found.skipped.append(Problem(where, "unlabelled", "a task that nobody has labelled"))
    return Task(where, data, tuple(o for o in opinions if o.heard))


def _opined(
    where: str, annotation: Mapping[str, Any], source: str, data: Mapping[str, Any], found: Found
) -> Opined:
    heard = tuple(_results(where, annotation["result"], found))
    if not annotation["result"]:
        found.skipped.append(Problem(where, "unlabelled", "an annotation without a label"))
    truth = bool(annotation.get("ground_truth") or annotation.get("honeypot"))
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    at = moment_text(annotation.get("updated_at") or annotation.get("created_at"))
    if by is None and not at:
        return Opined(heard, of_data(data, source), truth)
    given = Provenance(source, plain(by), at, plain(annotation.get("id")))
    return Opined(heard, given, truth)


def of_data(data: Mapping[str, Any], source: str) -> Provenance:
    """Where a label is from that came into Label Studio with its task, and out again unchanged."""
    texts = [plain(data.get(EARFUL + name)) for name in vars(Provenance())]
    return Provenance(texts[0] or source, *texts[1:])


def _results(where: str, results: Sequence[Any], found: Found) -> Iterator[Heard]:
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            found.problems.append(Problem(where, "bad_task", "a result without a 'value'"))
            continue
        kind = "labels" if "labels" in value else "choices"
        if kind not in value:
            what = f"{plain(result.get('from_name'))!r} of type {plain(result.get('type'))!r}"
            found.skipped.append(Problem(where, "no_label", f"the result {what} is no label"))
            continue
        yield heard_of(plain(result.get("from_name")), value, value[kind])


def heard_of(control: str, value: Mapping[str, Any], labels: Any) -> Heard:
    """Labels of a value that may have times; what is no text becomes an empty label."""
    labels = labels if isinstance(labels, list) else [labels]
    texts = tuple(text if isinstance(text, str) else "" for text in labels)
    if "start" not in value and "end" not in value:
        return Heard(control, texts)
    return Heard(control, texts, seconds_of(value.get("start")), seconds_of(value.get("end")))


def moment_text(value: Any) -> str:
    """A time of Label Studio in ISO 8601, UTC; seconds since 1970 in its first versions."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def choice_result(
    result_id: str, control: str, audio: str, labels: Sequence[str]
) -> dict[str, Any]:
    """The labels of a whole recording, as Label Studio takes them."""
    value = {"choices": list(labels)}
    return {
        "id": result_id, "from_name": control, "to_name": audio, "type": "choices", "value": value,
    }  # fmt: skip


def region_result(
    result_id: str, control: str, audio: str, labels: Sequence[str], start_seconds: float,
    end_seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """The labels of a stretch, as Label Studio takes them."""
    value = {"start": start_seconds, "end": end_seconds, "channel": 0, "labels": list(labels)}
    return {
        "id": result_id, "from_name": control, "to_name": audio, "type": "labels", "value": value,
    }  # fmt: skip
