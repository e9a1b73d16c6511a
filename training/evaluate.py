"""A released model on labelled recordings, through the same classifier that serves it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.audio import AudioError
from data.clips import read_clips
from data.errors import EarshotError
from data.labels import Clip, ClipProblem, LabelledClips, read_labels
from data.staging import staged_folder
from service.classifier import Classifier, Prediction, classify_each
from training.metrics import Metrics, compute_metrics
from training.plots import plot_confusion

Split = Literal["test", "val", "train", "all"]
REPORT = "evaluation.json"


class EvaluationError(EarshotError):
    """Nothing to evaluate on."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the clips that could be heard, the others, and what a reader must know."""

    metrics: Metrics
    failed: tuple[ClipProblem, ...]
    notes: tuple[str, ...]
    model: Path

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earshot evaluate --json``."""
        return {**self.metrics.to_dict(), "failed": [vars(clip) for clip in self.failed]}

    def text(self) -> str:
        """For a person: accuracy, speakers from worst to best, the commonest confusions."""
        found = self.metrics
        low, high = (100 * bound for bound in found.accuracy_ci95)
        lines = [
            f"{found.clips} clips: accuracy {100 * found.accuracy:.2f} % "
            f"(95 % interval {low:.1f} to {high:.1f}), macro F1 {found.macro_f1:.4f}"
        ]
        speakers = sorted(found.per_speaker.items(), key=lambda item: item[1]["accuracy"])
        lines += [
            f"  speaker {name}: {100 * row['accuracy']:.1f} % of {row['clips']}"
            for name, row in speakers
        ]
        lines += [
            f"  {count} x {true} heard as {guess}" for count, true, guess in _confusions(found)
        ]
        lines += [
            f"failed: line {f.line}, {f.filename}: {f.message} [{f.code}]" for f in self.failed
        ]
        return "\n".join(lines)


def evaluate_model(
    model: Path,
    labels_csv: Path,
    audio_dir: Path | None = None,
    *,
    split: Split | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a model on the rows of a CSV.

    When the CSV has a split column with test rows, only these are used unless ``split`` says
    otherwise: the others were trained on. Bad rows and unusable audio are in ``failed``.

    Raises:
        LabelsError: the CSV cannot be read.
        ModelError: the model cannot be used.
        EvaluationError: no row to evaluate on, or none whose label the model knows.
    """
    classifier = Classifier.open(model)
    labelled = read_labels(labels_csv, audio_dir)
    clips, notes = _choose_rows(labelled, split)
    failed = [ClipProblem.of_row(problem) for problem in labelled.problems]
    known, unknown = _sort_by_label(clips, classifier)
    failed += unknown
    heard: list[tuple[Clip, Prediction]] = []
    unheard: list[ClipProblem] = []
    waveforms = (
        audio if isinstance(audio, AudioError) else audio.waveform
        for _, audio in read_clips(known, classifier.sample_rate_hz)
    )
    for done, (clip, result) in enumerate(
        zip(known, classify_each(classifier, waveforms), strict=True), 1
    ):
        if isinstance(result, AudioError):
            unheard.append(ClipProblem.of_audio(clip, result))
        else:
            heard.append((clip, result))
        progress(done, len(known))
    if not heard:
        raise EvaluationError(f"none of {len(known)} clips can be heard; the first: {unheard[0]}")
    failed += unheard
    metrics = compute_metrics(
        [clip.label for clip, _ in heard],
        [prediction.label for _, prediction in heard],
        [clip.speaker for clip, _ in heard],
        classifier.labels,
    )
    return Evaluation(metrics, tuple(failed), tuple(notes), model)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """A report folder: evaluation.json and confusion.png."""
    metrics = evaluation.metrics
    with staged_folder(out, REPORT) as folder:
        text = json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / REPORT).write_text(text, "utf-8")
        title = f"{evaluation.model.name}, {metrics.clips} clips, {100 * metrics.accuracy:.2f} %"
        plot_confusion(metrics.confusion, metrics.labels, title, folder / "confusion.png")


def _choose_rows(labelled: LabelledClips, split: Split | None) -> tuple[Sequence[Clip], list[str]]:
    clips = labelled.clips
    if split == "all" or (split is None and not any(clip.split == "test" for clip in clips)):
        chosen: Sequence[Clip] = clips
    else:
        wanted = split or "test"
        chosen = [clip for clip in clips if clip.split == wanted]
    if not chosen:
        raise EvaluationError(f"no usable row to evaluate on (split {split or 'all'})")
    if len(chosen) == len(clips):
        if split is not None or all(clip.split == "test" for clip in clips):
            return chosen, []
        return chosen, [
            f"note: using all {len(clips)} rows; clips that the model was trained on flatter it "
            "(`earshot prepare` leaves those that it holds back in DATASET/test.csv)"
        ]
    return chosen, [
        f"note: using the {len(chosen)} of {len(clips)} rows with split={chosen[0].split}; "
        "--split all uses every row"
    ]


def _sort_by_label(
    clips: Sequence[Clip], classifier: Classifier
) -> tuple[list[Clip], list[ClipProblem]]:
    labels = set(classifier.labels)
    known = [clip for clip in clips if clip.label in labels]
    message = f"the model has the labels {', '.join(classifier.labels)}"
    unknown = [
        ClipProblem(clip.line, clip.filename, "unknown_label", f"label {clip.label!r}: {message}")
        for clip in clips
        if clip.label not in labels
    ]
    if not known:
        raise EvaluationError(f"no row has a label that the model knows: {message}")
    return known, unknown


def _confusions(metrics: Metrics, most: int = 5) -> list[tuple[int, str, str]]:
    """The commonest mistakes: (count, true label, predicted label)."""
    found = [
        (count, metrics.labels[row], metrics.labels[column])
        for row, counts in enumerate(metrics.confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(found, key=lambda item: -item[0])[:most]
