"""What scores are worth: calibration error, answers that are held back, and what should be."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.windows import loudest_clip
from earful.data.augmentation.noise import draw_background
from earful.models.bundle.decision import Scores
from earful.service.classifier import Classifier
from earful.training.metrics.calibration import (
    CoveragePoint,
    Floats,
    ReliabilityBin,
    at_threshold,
    calibration_error,
    coverage_curve,
    judged_scores,
    reliability,
)

BACKGROUNDS, SEED = 256, 42
BACKGROUND = "made noise and silence"


@dataclass(frozen=True)
class Sureness:
    """How well scores tell right from wrong.

    ``bins`` are those of the calibration error. ``answered`` is at the model's own threshold;
    ``rejected`` is the share of sounds of each kind that hold none of the labels and are answered
    with ``unknown`` there, as far as such sounds were tried.
    """

    calibration_error: float
    bins: tuple[ReliabilityBin, ...]
    answered: CoveragePoint
    curve: tuple[CoveragePoint, ...]
    rejected: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """For a person, in two lines."""
        shares = [f"{100 * share:.1f} % of {kind}" for kind, share in self.rejected.items()]
        return (
            f"scores: calibration error {100 * self.calibration_error:.1f} %\n"
            f"with --reject (below {self.answered.threshold:.2f}): "
            f"{100 * self.answered.coverage:.1f} % answered, "
            f"{100 * self.answered.accuracy:.2f} % of these right; "
            f"`unknown` is said of {' and '.join(shares)}"
        )


def weigh(
    scores: Floats,
    memberships: NDArray[np.bool_],
    right: Sequence[bool],
    kind: Scores,
    threshold: float,
) -> Sureness:
    """Weigh scores (clips, labels) against what was right.

    ``memberships`` (clips, labels) says which labels each clip has, ``right`` whose answers were
    right as a whole; what is held back goes by the best score of a clip.
    """
    judged, best = judged_scores(scores, memberships, kind), scores.max(axis=1)
    return Sureness(
        calibration_error(*judged),
        tuple(reliability(*judged)),
        at_threshold(best, right, threshold),
        tuple(coverage_curve(best, right)),
    )


def measure_sureness(
    classifier: Classifier,
    scores: NDArray[np.float32],
    memberships: NDArray[np.bool_],
    right: Sequence[bool],
    speech: Sequence[Waveform],
    others: Sequence[Waveform],
    recordings: Sequence[Waveform] = (),
) -> Sureness:
    """``weigh`` a model's scores, and try sounds without a label.

    ``speech`` is some of the clips, to make babble of; ``others`` are clips of other words, and
    ``recordings`` of noise. The background made here is of the kinds that networks may be trained
    on; recordings are the harder question.
    """
    threshold, kind = classifier.metadata.rejection_threshold, classifier.metadata.scores
    rejected = {BACKGROUND: _share_below(classifier, _backgrounds(classifier, speech), threshold)}
    for name, sounds in (("other words", others), ("recorded noise", recordings)):
        if sounds:
            rejected[name] = _share_below(classifier, sounds, threshold)
    found = weigh(scores.astype(np.float64), memberships, right, kind, threshold)
    return replace(found, rejected=rejected)


def _backgrounds(classifier: Classifier, speech: Sequence[Waveform]) -> list[Waveform]:
    size = classifier.metadata.features.clip_samples
    clips = [loudest_clip(speech[i % len(speech)], size) for i in range(BACKGROUNDS)]
    like = torch.from_numpy(np.stack(clips))
    seeded = torch.Generator().manual_seed(SEED)
    drawn = draw_background(like, like, classifier.sample_rate_hz, seeded)
    return list(drawn.numpy())


def _share_below(classifier: Classifier, sounds: Sequence[Waveform], threshold: float) -> float:
    scores = [answer.top_score for answer in classifier.classify_stream(sounds)]
    return float(np.mean(np.array(scores) < threshold))
