"""Evaluate a released model on labelled recordings, with the classifier that serves it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earful.data.atomic_write import json_bytes, staged_folder
from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.windows import loudest_clip
from earful.data.dataset.dataset import build_label_matrix
from earful.data.dataset.late_ends import LateEnd, describe_late_ends, find_late_end
from earful.data.dataset.reader import read_clips
from earful.data.errors import EarfulError
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.multilabel import has_multiple_labels, split_labels
from earful.models.bundle.decision import predicted_label_mask
from earful.service.classifier import Classifier, Prediction
from earful.training.evaluation.confidence import (
    N_BACKGROUNDS,
    ConfidenceReport,
    measure_confidence,
)
from earful.training.evaluation.false_accept_report import (
    FalseAcceptReport,
    LabelledScores,
    check_wanted_rate,
    measure_rejection,
)
from earful.training.evaluation.negatives import LabelledFiles, find_negatives
from earful.training.evaluation.noise_robustness import (
    LabelledWaveform,
    NoisePoint,
    measure_noise_robustness,
    noise_table,
    read_noise_recordings,
)
from earful.training.evaluation.plots import plot_coverage, plot_false_accepts, plot_noise
from earful.training.evaluation.recording_votes import recording_notes
from earful.training.metrics.classification import (
    ClassificationMetrics,
    compute_metrics,
    top_confusions,
)
from earful.training.metrics.multilabel import compute_multi_label_metrics
from earful.training.plots.plots import plot_confusion

Split = Literal["test", "val", "train", "all"]
Breakdown = Literal["speaker", "label"]
REPORT = "evaluation.json"
_MAX_CONFUSIONS = 5


class EvaluationError(EarfulError):
    """There are no clips to evaluate on."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the readable clips, the failed rows, and notes on how to read the metrics."""

    metrics: ClassificationMetrics
    failed: tuple[ClipProblem, ...]
    notes: tuple[str, ...]
    model: Path
    confidence: ConfidenceReport
    noise_test: tuple[NoisePoint, ...] = ()
    false_accepts: FalseAcceptReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful evaluate --json``; some keys only with the flag of their name."""
        result = {**self.metrics.to_dict(), "failed": [vars(clip) for clip in self.failed]}
        if self.false_accepts is not None:
            result["false_accepts"] = self.false_accepts.to_dict()
        if self.noise_test:
            result["noise_test"] = [vars(point) for point in self.noise_test]
        return result

    def report(self) -> dict[str, Any]:
        """All results, for the report folder."""
        return {**self.to_dict(), "confidence": self.confidence.to_dict()}

    def text(self, by: Breakdown | None = None) -> str:
        """Accuracy, speakers or labels by ascending accuracy, confusions, confidence, failures."""
        metrics = self.metrics
        lines = [metrics.text()]
        lines += metrics.label_lines() if by == "label" else metrics.speaker_lines(by == "speaker")
        confusions = top_confusions(metrics.confusion, metrics.labels, _MAX_CONFUSIONS)
        lines += [f"  {n} x {true} predicted as {predicted}" for n, true, predicted in confusions]
        lines.append(self.confidence.text())
        lines += [self.false_accepts.text()] if self.false_accepts is not None else []
        lines += [noise_table(self.noise_test)] if self.noise_test else []
        lines += [f"failed: {clip}" for clip in self.failed]
        return "\n".join(lines)


def evaluate_model(
    model: Path,
    labels_csv: Path,
    options: CsvOptions = PLAIN_CSV,
    *,
    split: Split | None = None,
    noise_test: bool = False,
    noise_dir: Path | None = None,
    negatives: Sequence[Path] = (),
    false_accepts_per_hour: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate a model on the rows of a CSV.

    Bad rows and unusable audio are listed in ``failed``.

    split       rows to use; None: the test rows of a split column, or all rows without any
    noise_test  also measure accuracy over noise types and levels
    noise_dir   recorded noise, for the noise test and the rejection rate
    negatives   other sound (``training.evaluation.negatives``), for the false accepts per hour
    false_accepts_per_hour  choose the lowest threshold with this rate instead of the model's

    Raises:
        LabelsError: the CSV cannot be read.
        FalseAcceptError: negatives cannot be used, or no threshold gives the rate.
        ModelError: the model cannot be used.
        EvaluationError: no usable row, or none with a label of the model.
        NoiseError: noise cannot be read, or babble cannot be mixed.
    """
    if false_accepts_per_hour is not None:
        check_wanted_rate(false_accepts_per_hour, has_negatives=bool(negatives))
    classifier = Classifier.open(model)
    recordings = read_noise_recordings(noise_dir, classifier.sample_rate_hz) if noise_dir else []
    sources, notes = find_negatives(negatives, classifier.metadata)
    labelled = read_labels(labels_csv, options)
    run_noise_test = noise_test or bool(recordings)
    clips, split_notes = _choose_rows(labelled, split)
    known, unknown = _split_by_known_label(clips, classifier)
    classified = _classify_clips(
        classifier, known, keep_all_waveforms=run_noise_test, progress=progress
    )
    late_notes = [f"note: {text}" for text in describe_late_ends(classified.late_ends)]
    window_notes = recording_notes(classified.predictions, classifier)
    csv_notes = [f"note: {text}" for text in labelled.notes]
    notes = [*csv_notes, *split_notes, *late_notes, *window_notes, *notes]
    metrics, correct = _measure(classified.predictions, classifier, notes)
    scores = np.stack([prediction.best.scores for _, prediction in classified.predictions])
    rejection = measure_rejection(
        classifier,
        sources,
        classified.files,
        LabelledScores(scores.max(axis=1)[correct], len(scores)),
        false_accepts_per_hour,
        progress=progress,
    )
    confidence = measure_confidence(
        classifier,
        scores,
        build_label_matrix([clip.label for clip, _ in classified.predictions], classifier.labels),
        correct,
        [clip.waveform for clip in classified.kept_clips],
        recordings,
        threshold=rejection.threshold,
        other_scores=rejection.other_scores,
    )
    points = (
        measure_noise_robustness(classifier, classified.kept_clips, recordings, progress=progress)
        if run_noise_test
        else []
    )
    return Evaluation(
        metrics=metrics,
        failed=(*labelled.problems, *unknown, *classified.failed, *rejection.failed),
        notes=(*notes, *rejection.notes),
        model=model,
        confidence=confidence,
        noise_test=tuple(points),
        false_accepts=rejection.false_accepts,
    )


def _measure(
    predictions: Sequence[tuple[Clip, Prediction]], classifier: Classifier, notes: list[str]
) -> tuple[ClassificationMetrics, list[bool]]:
    """Metrics of the predictions, and which are correct (clips,)."""
    expected = [clip.label for clip, _ in predictions]
    speakers = [clip.speaker for clip, _ in predictions]
    n_multi_label = sum(map(has_multiple_labels, expected))
    if not n_multi_label and not classifier.is_multi_label:
        predicted = [prediction.label for _, prediction in predictions]
        metrics = compute_metrics(expected, predicted, speakers, classifier.labels)
        return metrics, [a == b for a, b in zip(expected, predicted, strict=True)]
    if n_multi_label and not classifier.is_multi_label:
        notes.append(
            f"note: the model predicts one label per clip, and {n_multi_label} of {len(expected)} "
            "clips have several: none of these can be correct"
        )
    scores = np.stack([prediction.best.scores for _, prediction in predictions])
    expected_matrix = build_label_matrix(expected, classifier.labels)
    predicted_matrix = predicted_label_mask(scores, classifier.metadata.score_kind)
    metrics = compute_multi_label_metrics(
        expected_matrix, predicted_matrix, scores, speakers, classifier.labels
    )
    return metrics, (expected_matrix == predicted_matrix).all(axis=1).tolist()


@dataclass(frozen=True)
class _ClassifiedClips:
    """Clips with their predictions, those that failed, files, and waveforms for noise tests."""

    predictions: list[tuple[Clip, Prediction]] = field(default_factory=list)
    failed: list[ClipProblem] = field(default_factory=list)
    files: LabelledFiles = field(default_factory=LabelledFiles)
    kept_clips: list[LabelledWaveform] = field(default_factory=list)
    late_ends: list[LateEnd] = field(default_factory=list)


def _classify_clips(
    classifier: Classifier,
    clips: Sequence[Clip],
    *,
    keep_all_waveforms: bool,
    progress: Callable[[int, int], None],
) -> _ClassifiedClips:
    """Classify clips; keep all waveforms for the noise test, else one window of some for babble.

    Raises:
        EvaluationError: no clip can be read.
    """
    classified = _ClassifiedClips()
    size = classifier.metadata.features.clip_samples

    def readable() -> Iterator[tuple[Clip, Waveform]]:
        read = read_clips(clips, classifier.sample_rate_hz)
        for done, (clip, audio) in enumerate(read, 1):
            progress(done, len(clips))
            if isinstance(audio, AudioError):
                classified.failed.append(clip.audio_problem(audio))
                continue
            classified.files.add(audio.sha256, clip)
            late = find_late_end(clip, len(audio.waveform) / classifier.sample_rate_hz)
            classified.late_ends.extend([] if late is None else [late])
            if keep_all_waveforms or len(classified.kept_clips) < N_BACKGROUNDS:
                kept = audio.waveform if keep_all_waveforms else loudest_clip(audio.waveform, size)
                classified.kept_clips.append(LabelledWaveform(kept, clip.label, clip.speaker))
            yield clip, audio.waveform

    classified.predictions.extend(classifier.classify_items(readable()))
    if not classified.predictions:
        raise EvaluationError(
            f"none of {len(clips)} clips can be read; the first: {classified.failed[0]}"
        )
    return classified


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write evaluation.json, confusion.png, coverage.png and, if measured, the others."""
    metrics = evaluation.metrics
    with staged_folder(out, REPORT) as folder:
        (folder / REPORT).write_bytes(json_bytes(evaluation.report()))
        title = f"{evaluation.model.name}, {metrics.clips} clips, {100 * metrics.accuracy:.2f} %"
        plot_confusion(metrics.confusion, metrics.labels, title, folder / "confusion.png")
        plot_coverage(evaluation.confidence, title, folder / "coverage.png")
        if evaluation.false_accepts is not None:
            false_accepts = folder / "false_accepts.png"
            plot_false_accepts(evaluation.false_accepts, evaluation.model.name, false_accepts)
        if evaluation.noise_test:
            plot_noise(evaluation.noise_test, metrics.accuracy, title, folder / "noise.png")


def _choose_rows(labelled: LabelledClips, split: Split | None) -> tuple[Sequence[Clip], list[str]]:
    clips = labelled.clips
    if split == "all" or (split is None and not any(clip.split == "test" for clip in clips)):
        chosen: Sequence[Clip] = clips
    else:
        wanted_split = split or "test"
        chosen = [clip for clip in clips if clip.split == wanted_split]
    if not chosen:
        raise EvaluationError(f"no usable row to evaluate on (split {split or 'all'})")
    if len(chosen) == len(clips):
        if split is not None or all(clip.split == "test" for clip in clips):
            return chosen, []
        return chosen, [
            f"note: using all {len(clips)} rows; accuracy is too high where the model was trained "
            "on these clips (`earful prepare` writes the test clips to DATASET/test.csv)"
        ]
    return chosen, [
        f"note: using the {len(chosen)} of {len(clips)} rows with split={chosen[0].split}; "
        "--split all uses every row"
    ]


def _split_by_known_label(
    clips: Sequence[Clip], classifier: Classifier
) -> tuple[list[Clip], list[ClipProblem]]:
    labels = set(classifier.labels)
    known = [clip for clip in clips if labels.issuperset(split_labels(clip.label))]
    message = f"the model has the labels {', '.join(classifier.labels)}"
    unknown = [
        clip.problem("unknown_label", f"label {clip.label!r}: {message}")
        for clip in clips
        if not labels.issuperset(split_labels(clip.label))
    ]
    if not known:
        raise EvaluationError(f"no row has a label of the model: {message}")
    return known, unknown
