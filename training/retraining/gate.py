"""The promotion gate: compare candidate and champion on the frozen test set.

Both classify the same clips, so predictions are compared in pairs: only clips on which exactly one
of them is correct count (McNemar 1947, exact binomial version).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from earful.data.audio.decode import AudioError
from earful.data.dataset.reader import read_clips
from earful.data.labels.clip import Clip
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainingError
from earful.training.metrics.classification import paired_p_value

# Significance level of the paired test.
SIGNIFICANCE = 0.05
# Net loss that never fails a group, however small the group.
_TOLERATED_CLIPS = 1
_CHUNK_CLIPS = 256

GateCheckKind = Literal["all", "label", "speaker", "new label"]


@dataclass(frozen=True)
class PairedPrediction:
    """A test clip with both predictions; ``champion`` is None if it lacks the clip's label."""

    clip: Clip
    champion: str | None
    candidate: str


@dataclass(frozen=True)
class GateCheck:
    """One comparison.

    champion, candidate  accuracies from 0 to 1; ``champion`` is None for a new label
    lost, won            clips that only the champion, or only the candidate, classifies correctly
    p_value              one-sided McNemar test that the candidate is worse
    reason               why the check failed; empty if it passed
    """

    kind: GateCheckKind
    name: str
    clips: int
    champion: float | None
    candidate: float
    lost: int
    won: int
    p_value: float
    passed: bool
    reason: str


@dataclass(frozen=True)
class GateResult:
    """All checks; the candidate may be promoted if every one passes."""

    checks: tuple[GateCheck, ...]
    margin: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def overall(self) -> GateCheck:
        """The check on all clips."""
        return self.checks[0]

    def failures(self) -> list[str]:
        """The reasons of the failed checks."""
        return [check.reason for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "margin": self.margin,
            "checks": [asdict(check) for check in self.checks],
        }


def predict_pairs(
    champion: Classifier, candidate: Classifier, clips: Sequence[Clip]
) -> list[PairedPrediction]:
    """Classify every test clip with both models, in chunks of constant memory.

    Raises:
        TrainingError: a clip cannot be read any more, or the sample rates of the models differ.
    """
    predictions: list[PairedPrediction] = []
    rate_hz = candidate.sample_rate_hz
    known = set(champion.labels)
    if champion.sample_rate_hz != rate_hz:
        raise TrainingError(
            f"the champion takes {champion.sample_rate_hz} Hz and the candidate {rate_hz} Hz"
        )
    stream = read_clips(clips, rate_hz)
    while chunk := list(islice(stream, _CHUNK_CLIPS)):
        waveforms = []
        for clip, audio in chunk:
            if isinstance(audio, AudioError):
                raise TrainingError(
                    f"{clip.filename} of the frozen test set cannot be read: {audio}"
                )
            waveforms.append(audio.waveform)
        of_champion, of_candidate = champion.classify(waveforms), candidate.classify(waveforms)
        for (clip, _), before, after in zip(chunk, of_champion, of_candidate, strict=True):
            champion_label = before.label if clip.label in known else None
            predictions.append(PairedPrediction(clip, champion_label, after.label))
    return predictions


def evaluate_gate(
    predictions: Sequence[PairedPrediction],
    margin: float,
    min_new_label_accuracy: float,
    expected_new_labels: Sequence[str] = (),
) -> GateResult:
    """Compare on all clips, each label and each speaker; check new labels against a minimum.

    A group fails when the candidate loses more than ``margin`` of its clips net, and more than one
    clip. The check on all clips also fails when the paired test is significant.

    Raises:
        TrainingError: no clip has a label that both models know.
    """
    comparable = [pair for pair in predictions if pair.champion is not None]
    if not comparable:
        raise TrainingError(
            "the frozen test set has no clip with a label of the champion; add rows with "
            "split=test to the base data"
        )
    labels, speakers = defaultdict(list), defaultdict(list)
    new_labels: dict[str, list[PairedPrediction]] = {name: [] for name in expected_new_labels}
    for pair in predictions:
        if pair.champion is None:
            new_labels.setdefault(pair.clip.label, []).append(pair)
            continue
        labels[pair.clip.label].append(pair)
        if pair.clip.speaker:
            speakers[pair.clip.speaker].append(pair)
    checks = [_compare_group("all", "all clips", comparable, margin)]
    checks += [_compare_group("label", name, group, margin) for name, group in labels.items()]
    checks += [_compare_group("speaker", name, group, margin) for name, group in speakers.items()]
    checks += [
        _check_new_label(name, group, min_new_label_accuracy) for name, group in new_labels.items()
    ]
    return GateResult(tuple(checks), margin)


def _compare_group(
    kind: GateCheckKind, name: str, group: Sequence[PairedPrediction], margin: float
) -> GateCheck:
    champion_correct = [pair.champion == pair.clip.label for pair in group]
    candidate_correct = [pair.candidate == pair.clip.label for pair in group]
    outcomes = list(zip(champion_correct, candidate_correct, strict=True))
    lost, won = outcomes.count((True, False)), outcomes.count((False, True))
    p_value = paired_p_value(lost, won)
    loss = lost - won
    reason = ""
    if loss > _TOLERATED_CLIPS and loss > margin * len(group):
        reason = (
            f"{_group_name(kind, name)}: {100 * loss / len(group):.1f} points worse "
            f"({lost} of {len(group)} clips lost, {won} won; the margin is {100 * margin:g} points)"
        )
    elif kind == "all" and p_value < SIGNIFICANCE:
        reason = f"all clips: worse by the paired test ({lost} lost, {won} won, p {p_value:.3f})"
    before, after = (sum(correct) / len(group) for correct in (champion_correct, candidate_correct))
    return GateCheck(kind, name, len(group), before, after, lost, won, p_value, not reason, reason)


def _check_new_label(
    name: str, group: Sequence[PairedPrediction], min_new_label_accuracy: float
) -> GateCheck:
    n_correct = sum(pair.candidate == pair.clip.label for pair in group)
    accuracy = n_correct / max(1, len(group))
    reason = ""
    if not group:
        reason = f"new label {name!r}: no held-out clips; give three or more clips of the label"
    elif accuracy < min_new_label_accuracy:
        reason = (
            f"new label {name!r}: {n_correct} of {len(group)} held-out clips correct, "
            f"{100 * min_new_label_accuracy:g} % required"
        )
    return GateCheck(
        "new label", name, len(group), None, accuracy, 0, n_correct, 1.0, not reason, reason
    )


def _group_name(kind: GateCheckKind, name: str) -> str:
    return name if kind == "all" else f"{kind} {name!r}"
