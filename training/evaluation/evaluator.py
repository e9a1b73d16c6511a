"""A released model on labelled recordings, through the same classifier that serves it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earful.data.atomic_write import staged_folder
from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.windows import loudest_clip
from earful.data.dataset.dataset import memberships_of
from earful.data.dataset.reader import read_clips
from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import Clip, ClipProblem, LabelledClips, read_labels
from earful.data.labels.multilabel import has_several, split_labels
from earful.models.bundle.decision import said_labels
from earful.service.classifier import Classifier, Prediction, classify_each
from earful.training.evaluation.confidence import BACKGROUNDS, Sureness, measure_sureness
from earful.training.evaluation.noise_robustness import (
    NoisePoint,
    Spoken,
    read_noises,
    sweep,
    table,
)
from earful.training.evaluation.plots import plot_coverage, plot_noise
from earful.training.metrics.classification import Metrics, compute_metrics
from earful.training.metrics.multilabel import compute_set_metrics
from earful.training.plots.plots import plot_confusion

Split = Literal["test", "val", "train", "all"]
By = Literal["speaker", "label"]
REPORT = "evaluation.json"


class EvaluationError(EarfulError):
    """Nothing to evaluate on."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the clips that could be heard, the others, and what a reader must know."""

    metrics: Metrics
    failed: tuple[ClipProblem, ...]
    notes: tuple[str, ...]
    model: Path
    sureness: Sureness
    noise: tuple[NoisePoint, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful evaluate --json``; ``noise`` is there when it was asked for."""
        found = {**self.metrics.to_dict(), "failed": [vars(clip) for clip in self.failed]}
        return {**found, "noise": [vars(point) for point in self.noise]} if self.noise else found

    def report(self) -> dict[str, Any]:
        """All that was measured, for the report folder."""
        return {**self.to_dict(), "sureness": self.sureness.to_dict()}

    def text(self, by: By | None = None) -> str:
        """For a person: accuracy, speakers or labels from the worst on, and what is confused."""
        found = self.metrics
        lines = [found.text()]
        lines += found.label_lines() if by == "label" else found.speaker_lines(by == "speaker")
        lines += [
            f"  {count} x {true} heard as {guess}" for count, true, guess in _confusions(found)
        ]
        lines.append(self.sureness.text())
        lines += [table(self.noise)] if self.noise else []
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
    noise: bool = False,
    noise_dir: Path | None = None,
    others_csv: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a model on the rows of a CSV.

    When the CSV has a split column with test rows, only these are used unless ``split`` says
    otherwise: the others were trained on. Bad rows and unusable audio are in ``failed``.

    ``noise`` sweeps over kinds and levels of noise, the recordings of ``noise_dir`` among them;
    ``others_csv`` lists clips of other words, which should score low.

    Raises:
        LabelsError: the CSV cannot be read.
        ModelError: the model cannot be used.
        EvaluationError: no row to evaluate on, or none whose label the model knows.
        NoiseError: noise that cannot be read or made.
    """
    classifier = Classifier.open(model)
    recordings = read_noises(noise_dir, classifier.sample_rate_hz) if noise_dir else []
    others = _read_others(others_csv, classifier) if others_csv else []
    labelled = read_labels(labels_csv, audio_dir)
    sweeps = noise or bool(recordings)
    clips, notes = _choose_rows(labelled, split)
    known, unknown = _sort_by_label(clips, classifier)
    heard = _hear(classifier, known, keep_all=sweeps, progress=progress)
    metrics, right = _measure(heard.answers, classifier, notes)
    sureness = measure_sureness(
        classifier,
        np.stack([prediction.best.scores for _, prediction in heard.answers]),
        memberships_of([clip.label for clip, _ in heard.answers], classifier.labels),
        right,
        [clip.waveform for clip in heard.spoken],
        others,
        recordings,
    )
    points = sweep(classifier, heard.spoken, recordings, progress=progress) if sweeps else []
    bad_rows = [ClipProblem.of_row(problem) for problem in labelled.problems]
    failed = (*bad_rows, *unknown, *heard.failed)
    return Evaluation(metrics, failed, tuple(notes), model, sureness, tuple(points))


def _measure(
    answers: Sequence[tuple[Clip, Prediction]], classifier: Classifier, notes: list[str]
) -> tuple[Metrics, list[bool]]:
    """Metrics of the answers, and which were right."""
    truth = [clip.label for clip, _ in answers]
    speakers = [clip.speaker for clip, _ in answers]
    several = sum(map(has_several, truth))
    if not several and not classifier.says_several:
        said = [prediction.label for _, prediction in answers]
        metrics = compute_metrics(truth, said, speakers, classifier.labels)
        return metrics, [a == b for a, b in zip(truth, said, strict=True)]
    if several and not classifier.says_several:
        notes.append(
            f"note: the model says one label a clip, and {several} of {len(truth)} clips have "
            "several: none of these can be right"
        )
    scores = np.stack([prediction.best.scores for _, prediction in answers])
    wanted = memberships_of(truth, classifier.labels)
    found = said_labels(scores, classifier.metadata.scores)
    metrics = compute_set_metrics(wanted, found, scores, speakers, classifier.labels)
    return metrics, (wanted == found).all(axis=1).tolist()


@dataclass(frozen=True)
class _Heard:
    """Clips with their answers, those that could not be decoded, and waveforms that were kept."""

    answers: list[tuple[Clip, Prediction]]
    failed: list[ClipProblem]
    spoken: list[Spoken]


def _hear(
    classifier: Classifier,
    clips: Sequence[Clip],
    *,
    keep_all: bool,
    progress: Callable[[int, int], None],
) -> _Heard:
    """Classify clips; keep all waveforms for a sweep, or a clip each of some to make babble of.

    Raises:
        EvaluationError: none of them can be heard.
    """
    found = _Heard([], [], [])
    size = classifier.metadata.features.clip_samples

    def waveforms() -> Iterator[Waveform | AudioError]:
        for clip, audio in read_clips(clips, classifier.sample_rate_hz):
            if isinstance(audio, AudioError):
                yield audio
                continue
            if keep_all or len(found.spoken) < BACKGROUNDS:
                kept = audio.waveform if keep_all else loudest_clip(audio.waveform, size)
                found.spoken.append(Spoken(kept, clip.label, clip.speaker))
            yield audio.waveform

    answers = classify_each(classifier, waveforms())
    for done, (clip, answer) in enumerate(zip(clips, answers, strict=True), 1):
        if isinstance(answer, AudioError):
            found.failed.append(ClipProblem.of_audio(clip, answer))
        else:
            found.answers.append((clip, answer))
        progress(done, len(clips))
    if not found.answers:
        raise EvaluationError(
            f"none of {len(clips)} clips can be heard; the first: {found.failed[0]}"
        )
    return found


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """A report folder: evaluation.json, confusion.png, coverage.png; noise.png after a sweep."""
    metrics = evaluation.metrics
    with staged_folder(out, REPORT) as folder:
        text = json.dumps(evaluation.report(), indent=2, ensure_ascii=False) + "\n"
        (folder / REPORT).write_text(text, "utf-8")
        title = f"{evaluation.model.name}, {metrics.clips} clips, {100 * metrics.accuracy:.2f} %"
        plot_confusion(metrics.confusion, metrics.labels, title, folder / "confusion.png")
        plot_coverage(evaluation.sureness, title, folder / "coverage.png")
        if evaluation.noise:
            plot_noise(evaluation.noise, metrics.accuracy, title, folder / "noise.png")


def _read_others(csv_path: Path, classifier: Classifier) -> list[Waveform]:
    """Waveforms of clips that hold none of the model's labels.

    Raises:
        EvaluationError: a clip with such a label, or one that cannot be heard.
    """
    labelled = read_labels(csv_path)
    for clip in labelled.clips:
        for label in split_labels(clip.label):
            if label in classifier.labels:
                raise EvaluationError(
                    f"line {clip.line} of {csv_path} has the label {label!r}, which the model "
                    "knows; --others is for other words"
                )
    waveforms = []
    for clip, audio in read_clips(labelled.clips, classifier.sample_rate_hz):
        if isinstance(audio, AudioError):
            raise EvaluationError(f"{clip.filename} of {csv_path} cannot be heard: {audio}")
        waveforms.append(audio.waveform)
    if not waveforms:
        raise EvaluationError(f"{csv_path} has no usable row")
    return waveforms


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
            "(`earful prepare` leaves those that it holds back in DATASET/test.csv)"
        ]
    return chosen, [
        f"note: using the {len(chosen)} of {len(clips)} rows with split={chosen[0].split}; "
        "--split all uses every row"
    ]


def _sort_by_label(
    clips: Sequence[Clip], classifier: Classifier
) -> tuple[list[Clip], list[ClipProblem]]:
    labels = set(classifier.labels)
    known = [clip for clip in clips if labels.issuperset(split_labels(clip.label))]
    message = f"the model has the labels {', '.join(classifier.labels)}"
    unknown = [
        ClipProblem(clip.line, clip.filename, "unknown_label", f"label {clip.label!r}: {message}")
        for clip in clips
        if not labels.issuperset(split_labels(clip.label))
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
