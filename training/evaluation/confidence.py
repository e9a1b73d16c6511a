"""What scores are worth: calibration error, answers that are held back, and what should be."""

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
    scores_with_correctness,
    reliability,
)

N_BACKGROUNDS, SEED = 256, 42
BACKGROUND_NAME = "synthetic background and silence"


@dataclass(frozen=True)
class ConfidenceReport:
    """How well scores tell right from wrong.

    ``bins`` are those of the calibration error. ``answered`` is at the model's own threshold;
    ``rejected`` is the share of sounds of each kind that hold none of the labels and are answered
    with ``unknown`` there, as far as such sounds were tried.
    """

    calibration_error: float
    bins: tuple[ReliabilityBin, ...]
    operating_point: CoveragePoint
    curve: tuple[CoveragePoint, ...]
    rejection_rates: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """For a person, in two lines."""
        shares = [f"{100 * share:.1f} % of {kind}" for kind, share in self.rejection_rates.items()]
        return (
            f"scores: calibration error {100 * self.calibration_error:.1f} %\n"
            f"with --reject (below {self.operating_point.threshold:.2f}): "
            f"{100 * self.operating_point.coverage:.1f} % answered, "
            f"{100 * self.operating_point.accuracy:.2f} % of these right; "
            f"`unknown` is said of {' and '.join(shares)}"
        )


def compute_confidence(
    scores: FloatArray,
    label_matrix: NDArray[np.bool_],
    correct: Sequence[bool],
    kind: ScoreKind,
    threshold: float,
) -> ConfidenceReport:
    """Weigh scores (clips, labels) against what was right.

    ``memberships`` (clips, labels) says which labels each clip has, ``right`` whose answers were
    right as a whole; what is held back goes by the best score of a clip.
    """
    with_correctness, best = scores_with_correctness(scores, label_matrix, kind), scores.max(axis=1)
    return ConfidenceReport(
        calibration_error(*with_correctness),
        tuple(reliability(*with_correctness)),
        at_threshold(best, correct, threshold),
        tuple(coverage_curve(best, correct)),
    )


def measure_confidence(
    classifier: Classifier,
    scores: NDArray[np.float32],
    label_matrix: NDArray[np.bool_],
    correct: Sequence[bool],
    speech: Sequence[Waveform],
    negatives: Sequence[Waveform],
    recordings: Sequence[Waveform] = (),
) -> ConfidenceReport:
    """``weigh`` a model's scores, and try sounds without a label.

    ``speech`` is some of the clips, to make babble of; ``others`` are clips of other words, and
    ``recordings`` of noise. The background made here is of the kinds that networks may be trained
    on; recordings are the harder question.
    """
    threshold, kind = classifier.metadata.rejection_threshold, classifier.metadata.score_kind
    rejection_rates = {BACKGROUND_NAME: _share_rejected(classifier, _synthetic_backgrounds(classifier, speech), threshold)}
    for name, waveforms in (("out-of-vocabulary words", negatives), ("recorded noise", recordings)):
        if waveforms:
            rejection_rates[name] = _share_rejected(classifier, waveforms, threshold)
    report = compute_confidence(scores.astype(np.float64), label_matrix, correct, kind, threshold)
    return replace(report, rejection_rates=rejection_rates)


def _synthetic_backgrounds(classifier: Classifier, speech: Sequence[Waveform]) -> list[Waveform]:
    size = classifier.metadata.features.clip_samples
    clips = [loudest_clip(speech[i % len(speech)], size) for i in range(N_BACKGROUNDS)]
    like = torch.from_numpy(np.stack(clips))
    seeded = torch.Generator().manual_seed(SEED)
    drawn = synthetic_background(like, like, classifier.sample_rate_hz, seeded)
    return list(drawn.numpy())


def _share_rejected(classifier: Classifier, waveforms: Sequence[Waveform], threshold: float) -> float:
    scores = [answer.top_score for answer in classifier.classify_stream(waveforms)]
    return float(np.mean(np.array(scores) < threshold))
