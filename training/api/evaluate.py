"""``earful.evaluate`` and ``evaluate_events``: a released model on labelled recordings."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from earful.data.dataset.dataset import (
    ALL_CLIPS_FILENAME,
    MANIFEST_FILENAME,
    TEST_CLIPS_FILENAME,
    open_dataset,
)
from earful.data.errors import optional_path, require_choice, require_number, require_path
from earful.data.labels.csv_options import CsvOptions
from earful.models.registry.find_model import find_model
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.training.evaluation.evaluator import (
    Evaluation,
    EvaluationError,
    Split,
    evaluate_model,
    write_evaluation,
)
from earful.training.evaluation.event_evaluation import (
    EventEvaluation,
    evaluate_recordings,
    write_event_evaluation,
)
from earful.training.evaluation.event_metrics import COLLAR_SECONDS
from earful.training.export.rejection_threshold import (
    check_writable_model,
    write_rejection_threshold,
)
from earful.training.runs.progress import work_progress

StrPath = str | os.PathLike[str]


def evaluate(
    model: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    audio_dir: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    label_separator: str = "",
    split: Split | None = None,
    noise_test: bool = False,
    noise_dir: str | os.PathLike[str] | None = None,
    negatives: StrPath | Sequence[StrPath] | None = None,
    false_accepts_per_hour: float | None = None,
    registry: str = DEFAULT_REGISTRY,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a model file on labelled recordings, through the code that classifies and serves.

    Args:
        model: an ONNX file, or NAME, NAME@NUMBER or NAME@ALIAS of the registry.
        labels: a labels CSV, or a dataset folder, whose test clips are used.
        audio_dir: folder of relative file names; the folder of the CSV by default.
        columns: columns of the CSV by role, such as ``{"label": "category"}``.
        label_separator: what stands between several labels of one cell, beside ``|``.
        split: rows to use; by default the test rows if a split column has any, else all.
        noise_test: measure also in noise of several kinds, at 20 to 0 dB.
        noise_dir: folder of recorded noise for the noise test.
        negatives: other sound, which holds none of the model's labels: one path or several, each a
            sound file of any length, a folder, a labels CSV or a dataset. Measures false accepts.
        false_accepts_per_hour: write the lowest threshold with at most this rate over the
            negatives into the model file, which must not be one of the registry.
        registry: folder or URL of released models.
        out: folder for a report: evaluation.json and pictures.
        progress: show a progress bar on stderr.

    Raises:
        UsageError: an argument of a wrong type, or none of the choices.
        LabelsError: a CSV cannot be read.
        DatasetError: a dataset has another schema, or is damaged.
        ModelError: the model cannot be used.
        EvaluationError: there is no clip to evaluate on.
        NoiseError: noise that cannot be read.
        FalseAcceptError: negatives that cannot be used, or no threshold gives the wanted rate.
        ExportError: the threshold cannot be written into the model.
        OutputError: ``out`` cannot be written.
    """
    if split is not None:
        require_choice("split", split, get_args(Split))
    require_path("registry", registry)
    out = optional_path("out", out)
    given = [negatives] if isinstance(negatives, str | os.PathLike) else list(negatives or ())
    paths = [require_path("negatives", path) for path in given]
    if false_accepts_per_hour is not None:
        check_writable_model(str(require_path("model", model)))
    with work_progress("evaluate", show=progress) as on_progress:
        result = evaluate_model(
            find_model(str(require_path("model", model)), registry),
            find_labels(require_path("labels", labels), split),
            CsvOptions(optional_path("audio_dir", audio_dir), columns or {}, label_separator),
            split=split,
            noise_test=noise_test,
            noise_dir=optional_path("noise_dir", noise_dir),
            negatives=paths,
            false_accepts_per_hour=false_accepts_per_hour,
            progress=on_progress,
        )
    if result.false_accepts is not None and result.false_accepts.chosen is not None:
        write_rejection_threshold(result.model, result.false_accepts.at_threshold.threshold)
    if out is not None:
        write_evaluation(result, out)
    return result


def evaluate_events(
    model: StrPath,
    events: StrPath,
    *,
    audio_dir: StrPath | None = None,
    columns: Mapping[str, str] | None = None,
    label_separator: str = "",
    collar_seconds: float = COLLAR_SECONDS,
    registry: str = DEFAULT_REGISTRY,
    out: StrPath | None = None,
    progress: bool = False,
) -> EventEvaluation:
    """Measure the event detector with a model file on recordings whose events are labelled.

    Args:
        model: an ONNX file, or NAME, NAME@NUMBER or NAME@ALIAS of the registry.
        events: a labels CSV whose rows are events (start, end) of recordings, an Audacity label
            track, or a folder of tracks.
        audio_dir: folder of the recordings; that of the labels by default.
        columns: columns of the CSV by role, such as ``{"start": "onset"}``.
        label_separator: what stands between several labels of one cell, beside ``|``.
        collar_seconds: how far the start of a found event may be off, 0.001 to 60 seconds. Its end
            may be off as far, or by a fifth of the true event's length.
        registry: folder or URL of released models.
        out: folder for a report: evaluation.json.
        progress: show a progress bar on stderr.

    Raises:
        UsageError: an argument of a wrong type or range.
        EventsError: there are no events to evaluate on.
        LabelsError: a CSV cannot be read.
        AnnotationError: a label track cannot be read.
        ModelError: the model cannot be used.
        EvaluationError: no recording can be read.
        OutputError: ``out`` cannot be written.
    """
    require_number("collar_seconds", collar_seconds, 0.001, 60)
    require_path("registry", registry)
    out = optional_path("out", out)
    with work_progress("evaluate", show=progress) as on_progress:
        result = evaluate_recordings(
            find_model(str(require_path("model", model)), registry),
            require_path("events", events),
            CsvOptions(optional_path("audio_dir", audio_dir), columns or {}, label_separator),
            collar_seconds=collar_seconds,
            progress=on_progress,
        )
    if out is not None:
        write_event_evaluation(result, out)
    return result


def find_labels(labels: Path, split: Split | None) -> Path:
    """The labels CSV itself, or that of a dataset folder.

    Raises:
        DatasetError: the dataset has another schema, or is damaged.
        EvaluationError: it holds back no test clips.
    """
    if not (labels / MANIFEST_FILENAME).is_file():
        return labels
    open_dataset(labels)  # refuses another schema
    if split not in (None, "test"):
        return labels / ALL_CLIPS_FILENAME
    if not (labels / TEST_CLIPS_FILENAME).is_file():
        raise EvaluationError(
            f"{labels} holds back no test clips; give a labels CSV of clips that the model was "
            "not trained on, or --split val"
        )
    return labels / TEST_CLIPS_FILENAME
