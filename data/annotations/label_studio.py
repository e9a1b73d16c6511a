"""Label Studio's tasks: its JSON export read, and the results that it takes, written.

A task is ``{"data": {"audio": ...}, "annotations": [...]}``; an annotation has a ``result`` for
each control: choices for the whole recording, labels for a region, in seconds. Before version 1
the annotations were called completions. Sources: its documentation, "Export annotations",
"Import pre-annotated data", and the tags Audio, Choices and Labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.annotations.annotation import (
    Annotation,
    AnnotationError,
    Found,
    Lost,
    Problem,
    Provenance,
    plain,
    seconds_of,
)
from data.annotations.choices import Rule
from data.annotations.json_files import read_objects
from data.annotations.locate import is_of_label_studio, locate_all, plain_reference
from data.annotations.resolve import Opinion, choose, refuse_disputes
from data.containers import AUDIO_SUFFIXES

FORMAT = "label-studio"
# Our own names of what Label Studio has no field for; it keeps them with the task.
EARSHOT = "earshot_"


@dataclass(frozen=True)
class Heard:
    """A label of a task: the control that gave it, and its stretch in seconds (None: the whole)."""

    control: str
    labels: tuple[str, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class Opined:
    """What one annotator says of a task."""

    heard: tuple[Heard, ...]
    provenance: Provenance
    ground_truth: bool = False


@dataclass(frozen=True)
class Task:
    """A task: where it stands, the fields of its data, what annotators say."""

    where: str
    data: Mapping[str, Any]
    opinions: tuple[Opined, ...]


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
    texts = [plain(data.get(EARSHOT + name)) for name in vars(Provenance())]
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
    """A label of a value that may have times; texts that are no text become an empty label."""
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


def collect(
    tasks: Sequence[Task], folder: Path, controls: Sequence[str], rule: Rule, found: Found
) -> None:
    """Put the labels of tasks into ``found``, of each task those of one annotator.

    Raises:
        AnnotationError: controls that are not certain; disagreements under ``error``.
    """
    wanted = _wanted_controls(tasks, controls)
    references = {task.where: _reference(task.data) for task in tasks}
    places = dict(locate_all(sorted({r for r in references.values() if r}), folder))
    disputed: list[Lost] = []
    for task in tasks:
        opinions = [_of_controls(opinion, wanted) for opinion in task.opinions]
        opinions = [opinion for opinion in opinions if opinion.heard]
        if not opinions:
            if task.opinions:
                found.skipped.append(Problem(task.where, "unlabelled", "no label of the control"))
            continue
        place = places.get(references[task.where])
        if place is None:
            reason = f"no audio in its data, which has {_keys(task.data)}"
            place = Problem(task.where, "no_audio", reason)
        if isinstance(place, Problem):
            found.problems.append(Problem(task.where, place.code, place.message))
            continue
        _add_settled(task, opinions, place, rule, found, disputed)
    refuse_disputes(disputed)


def _add_settled(
    task: Task, opinions: Sequence[Opined], path: Path, rule: Rule, found: Found,
    disputed: list[Lost],
) -> None:  # fmt: skip
    asked = [Opinion(_answer(o), o.provenance.moment, o.ground_truth) for o in opinions]
    choice = choose(asked, rule)
    kept = opinions[choice.position]
    for opinion in opinions:
        if _answer(opinion) == _answer(kept):
            continue
        lost = Lost(
            f"{task.where}, {_who(opinion)}", _shown(opinion), _who(kept), _shown(kept), choice.why,
        )  # fmt: skip
        (disputed if choice.disputed else found.lost).append(lost)
    for heard in kept.heard:
        if len(heard.labels) != 1:
            reason = f"{len(heard.labels)} labels at once, where a clip has one: {heard.labels}"
            found.problems.append(Problem(task.where, "several_labels", reason))
            continue
        found.add(
            Annotation(
                task.where, path, heard.labels[0], heard.start_seconds, heard.end_seconds,
                plain(task.data.get("speaker")), plain(task.data.get("split")), kept.provenance,
                kept.ground_truth,
            )
        )  # fmt: skip


def _of_controls(opinion: Opined, wanted: set[str]) -> Opined:
    return replace(opinion, heard=tuple(h for h in opinion.heard if h.control in wanted))


def _answer(opinion: Opined) -> frozenset[tuple[Any, ...]]:
    """What is said, whatever the order in which it was."""
    return frozenset((h.labels, str(h.start_seconds), str(h.end_seconds)) for h in opinion.heard)


def _who(opinion: Opined) -> str:
    return f"annotator {opinion.provenance.annotator or 'without a name'}"


def _shown(opinion: Opined) -> str:
    first = ", ".join(opinion.heard[0].labels)
    more = len(opinion.heard) - 1
    return f"{first} and {more} more" if more else first


def _wanted_controls(tasks: Sequence[Task], given: Sequence[str]) -> set[str]:
    found = {h.control for task in tasks for o in task.opinions for h in o.heard}
    wanted = set(given) or found
    if (len(found) > 1 and not given) or (found and not wanted & found):
        raise AnnotationError(
            f"labels are of the controls {', '.join(map(repr, sorted(found)))}: say which of them "
            "counts with --label-column NAME (more than once for several)"
        )
    return wanted


def _reference(data: Mapping[str, Any]) -> str:
    """What a task's data say of its audio: the field ``audio``, or the only one that may be it."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    if "audio" in texts:
        return texts["audio"]
    likely = [text for text in texts.values() if _is_audio(text)]
    return likely[0] if len(set(likely)) == 1 else ""


def _is_audio(text: str) -> bool:
    name = text.partition("?")[0] if "://" in text else text
    return is_of_label_studio(text) or Path(name[-300:]).suffix.lower() in AUDIO_SUFFIXES


def _keys(data: Mapping[str, Any]) -> str:
    return ", ".join(repr(plain_reference(str(key))) for key in list(data)[:10]) or "nothing"


def choice_result(result_id: str, control: str, audio: str, label: str) -> dict[str, Any]:
    """A label of a whole recording, as Label Studio takes it."""
    value = {"choices": [label]}
    return {
        "id": result_id, "from_name": control, "to_name": audio, "type": "choices", "value": value,
    }  # fmt: skip


def region_result(
    result_id: str, control: str, audio: str, label: str, start_seconds: float, end_seconds: float
) -> dict[str, Any]:
    """A label of a stretch, as Label Studio takes it."""
    value = {"start": start_seconds, "end": end_seconds, "channel": 0, "labels": [label]}
    return {
        "id": result_id, "from_name": control, "to_name": audio, "type": "labels", "value": value,
    }  # fmt: skip
