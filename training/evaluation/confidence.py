"""Confidence of a model: calibration, coverage, rejection of clips without a label."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.windows import loudest_clip
from earful.data.augmentation.noise import synthetic_background
from earful.models.bundle.decision import ScoreKind
from earful.service.classifier import Classifier
from earful.training.metrics.calibration import (
    CoveragePoint,
    FloatArray,
    ReliabilityBin,
    at_threshold,
    calibration_error,
    coverage_curve,
    format_threshold,
    reliability,
    scores_with_correctness,
)

N_BACKGROUNDS, SEED = 256, 42
BACKGROUND_NAME = "synthetic background and silence"


@dataclass(frozen=True)
class ConfidenceReport:
    """How well scores separate correct from incorrect predictions.

    bins             reliability bins of the calibration error
    operating_point  coverage and accuracy at the model's rejection threshold
    rejection_rates  share of clips without any label that score below the threshold, by type
    other_clips, other_clips_rejected  negatives, and those that score below the threshold
    """

    calibration_error: float
    bins: tuple[ReliabilityBin, ...]
    operating_point: CoveragePoint
    curve: tuple[CoveragePoint, ...]
    rejection_rates: dict[str, float] = field(default_factory=dict)
    other_clips: int = 0
    other_clips_rejected: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Calibration and rejection, in lines of at most 80 columns."""
        shares = [f"{100 * share:.1f} % of {kind}" for kind, share in self.rejection_rates.items()]
        lines = [
            f"scores: calibration error {100 * self.calibration_error:.1f} %",
            f"with --reject (threshold {format_threshold(self.operating_point.threshold)}): "
            f"{100 * self.operating_point.coverage:.1f} % accepted, "
            f"{100 * self.operating_point.accuracy:.2f} % of these correct",
            f"  rejected: {', '.join(shares)}",
        ]
        if self.other_clips:
            lines.append(
                f"  of {self.other_clips} other clips {self.other_clips_rejected} are rejected "
                f"({100 * self.other_clips_rejected / self.other_clips:.1f} %)"
            )
        return "\n".join(lines)


def compute_confidence(
    scores: FloatArray,
    label_matrix: NDArray[np.bool_],
    correct: Sequence[bool],
    kind: ScoreKind,
    threshold: float,
) -> ConfidenceReport:
    """Calibration and coverage of scores (clips, labels).

    ``label_matrix`` (clips, labels) has the true labels, ``correct`` (clips,) whether each
    prediction is correct as a whole. A clip is rejected by its highest score.
    """
    with_correctness = scores_with_correctness(scores, label_matrix, kind)
    top_scores = scores.max(axis=1)
    return ConfidenceReport(
        calibration_error=calibration_error(*with_correctness),
        bins=tuple(reliability(*with_correctness)),
        operating_point=at_threshold(top_scores, correct, threshold),
        curve=tuple(coverage_curve(top_scores, correct)),
    )


def measure_confidence(
    classifier: Classifier,
    scores: NDArray[np.float32],
    label_matrix: NDArray[np.bool_],
    correct: Sequence[bool],
    speech: Sequence[Waveform],
    recordings: Sequence[Waveform] = (),
    *,
    threshold: float,
    other_scores: NDArray[np.float32],
) -> ConfidenceReport:
    """``compute_confidence`` of a model, and its rejection rates on clips without a label.

    ``speech`` is a sample of the evaluated clips, mixed to babble; ``recordings`` are recorded
    noise, ``other_scores`` (clips,) the best scores of negatives. Synthetic background may be part
    of training; the others are the harder test.
    """
    kind = classifier.metadata.score_kind
    rejection_rates = {
        BACKGROUND_NAME: _share_rejected(
            classifier, _synthetic_backgrounds(classifier, speech), threshold
        )
    }
    if recordings:
        rejection_rates["recorded noise"] = _share_rejected(classifier, recordings, threshold)
    report = compute_confidence(scores.astype(np.float64), label_matrix, correct, kind, threshold)
    return replace(
        report,
        rejection_rates=rejection_rates,
        other_clips=len(other_scores),
        other_clips_rejected=int(np.count_nonzero(other_scores < threshold)),
    )


def _synthetic_backgrounds(classifier: Classifier, speech: Sequence[Waveform]) -> list[Waveform]:
    size = classifier.metadata.features.clip_samples
    clips = [loudest_clip(speech[i % len(speech)], size) for i in range(N_BACKGROUNDS)]
    batch = torch.from_numpy(np.stack(clips))
    generator = torch.Generator().manual_seed(SEED)
    background = synthetic_background(batch, batch, classifier.sample_rate_hz, generator)
    return list(background.numpy())


def _share_rejected(
    classifier: Classifier, waveforms: Sequence[Waveform], threshold: float
) -> float:
    scores = [prediction.top_score for prediction in classifier.classify_stream(waveforms)]
    return float(np.mean(np.array(scores) < threshold))
