"""Champion against candidate on the frozen test set: may the candidate take its place?

Both answer the same clips, so the answers are compared in pairs: only clips that one of them gets
right and the other wrong tell them apart (McNemar 1947; exact, by the binomial distribution).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from scipy.stats import binomtest

from earful.data.audio.decode import AudioError
from earful.data.dataset.reader import read_clips
from earful.data.labels.labels_csv import Clip
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainingError

# A candidate that is no worse looks this bad by chance one time in twenty.
SIGNIFICANCE = 0.05
# A single clip does not make a group worse, however small the group.
_FORGIVEN_CLIPS = 1
_CHUNK = 256

Kind = Literal["all", "label", "speaker", "new label"]


@dataclass(frozen=True)
class Answered:
    """A test clip and what both models say it is; None where the champion has no such label."""

    clip: Clip
    champion: str | None
    candidate: str


@dataclass(frozen=True)
class Check:
    """One comparison; accuracies are shares, and of the champion None where it cannot know.

    ``lost`` clips are those that only the champion gets right, ``won`` the other way round;
    ``p_value`` is how often chance alone would lose so many more than it wins.
    """

    kind: Kind
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
class Verdict:
    """All comparisons; the candidate may be promoted when every one passes."""

    checks: tuple[Check, ...]
    margin: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def overall(self) -> Check:
        return self.checks[0]

    def failures(self) -> list[str]:
        """Why the candidate may not be promoted, a sentence each."""
        return [check.reason for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "margin": self.margin,
            "checks": [asdict(check) for check in self.checks],
        }


def answer_both(
    champion: Classifier, candidate: Classifier, clips: Sequence[Clip]
) -> list[Answered]:
    """What both say of every test clip; memory does not grow with the audio.

    Raises:
        TrainingError: a clip of the frozen test set that cannot be heard any more.
    """
    found: list[Answered] = []
    rate_hz = candidate.sample_rate_hz
    known = set(champion.labels)
    if champion.sample_rate_hz != rate_hz:
        raise TrainingError(
            f"the champion hears {champion.sample_rate_hz} Hz and the candidate {rate_hz} Hz"
        )
    stream = read_clips(clips, rate_hz)
    while chunk := list(islice(stream, _CHUNK)):
        waveforms = []
        for clip, audio in chunk:
            if isinstance(audio, AudioError):
                raise TrainingError(
                    f"{clip.filename} of the frozen test set cannot be heard: {audio}"
                )
            waveforms.append(audio.waveform)
        pairs = zip(champion.classify(waveforms), candidate.classify(waveforms), strict=True)
        for (clip, _), (before, after) in zip(chunk, pairs, strict=True):
            before_label = before.label if clip.label in known else None
            found.append(Answered(clip, before_label, after.label))
    return found


def judge(
    answers: Sequence[Answered], margin: float, least_accuracy: float, new: Sequence[str] = ()
) -> Verdict:
    """Compare on all clips, on each label and on each speaker; ``new`` labels against a floor.

    A group fails when the candidate loses more than ``margin`` of its clips net, and more than one
    clip; all clips fail besides when it is worse by the paired test.

    Raises:
        TrainingError: there is no clip that both models could know.
    """
    both = [answer for answer in answers if answer.champion is not None]
    if not both:
        raise TrainingError(
            "the frozen test set has no clip of a label that the champion knows; give the base "
            "data rows with split=test"
        )
    labels, speakers = defaultdict(list), defaultdict(list)
    new_labels: dict[str, list[Answered]] = {name: [] for name in new}
    for answer in answers:
        if answer.champion is None:
            new_labels.setdefault(answer.clip.label, []).append(answer)
            continue
        labels[answer.clip.label].append(answer)
        if answer.clip.speaker:
            speakers[answer.clip.speaker].append(answer)
    checks = [_compare("all", "all clips", both, margin)]
    checks += [_compare("label", name, group, margin) for name, group in labels.items()]
    checks += [_compare("speaker", name, group, margin) for name, group in speakers.items()]
    checks += [_reach(name, group, least_accuracy) for name, group in new_labels.items()]
    return Verdict(tuple(checks), margin)


def _compare(kind: Kind, name: str, group: Sequence[Answered], margin: float) -> Check:
    before = [answer.champion == answer.clip.label for answer in group]
    after = [answer.candidate == answer.clip.label for answer in group]
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    won = sum(a and not b for b, a in zip(before, after, strict=True))
    p_value = paired_p_value(lost, won)
    loss = lost - won
    reason = ""
    if loss > _FORGIVEN_CLIPS and loss > margin * len(group):
        reason = (
            f"{_called(kind, name)}: {100 * loss / len(group):.1f} points worse "
            f"({lost} of {len(group)} clips lost, {won} won; {100 * margin:g} points are allowed)"
        )
    elif kind == "all" and p_value < SIGNIFICANCE:
        reason = f"all clips: worse by the paired test ({lost} lost, {won} won, p {p_value:.3f})"
    return Check(
        kind, name, len(group), sum(before) / len(group), sum(after) / len(group), lost, won,
        p_value, not reason, reason,
    )  # fmt: skip


def _reach(name: str, group: Sequence[Answered], least_accuracy: float) -> Check:
    right = sum(answer.candidate == answer.clip.label for answer in group)
    accuracy = right / max(1, len(group))
    passed = accuracy >= least_accuracy and bool(group)
    reason = (
        f"new label {name!r}: {right} of {len(group)} held-out clips right, "
        f"{100 * least_accuracy:g} % are wanted"
    )
    if not group:
        reason = f"new label {name!r}: no clip is held out to measure it; three or more are needed"
    return Check(
        "new label", name, len(group), None, accuracy, 0, right, 1.0, passed,
        "" if passed else reason,
    )  # fmt: skip


def paired_p_value(lost: int, won: int) -> float:
    """Chance of losing so many or more of the clips that tell the models apart, were they equal.

    One-sided exact test of McNemar: the binomial distribution with probability one half.
    """
    if lost + won == 0:
        return 1.0
    return float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)


def _called(kind: Kind, name: str) -> str:
    return name if kind == "all" else f"{kind} {name!r}"
