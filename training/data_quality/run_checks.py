"""The whole examination of a labels CSV: files, labels, copies, splits and likely wrong labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.dataset.reader import ClipAudio
from earful.data.dataset.validate import CheckReport, check_labels
from earful.data.labels.labels_csv import Clip
from earful.data.labels.multilabel import has_multiple_labels, sort_labels
from earful.training.data_quality import label_errors
from earful.training.data_quality.duplicates import check_copies, check_speakers, one_of_each
from earful.training.data_quality.file_checks import check_files
from earful.training.data_quality.finding import (
    ATTENTION,
    SEVERITIES,
    Finding,
    clips_of,
    found,
    of_problem,
)
from earful.training.data_quality.label_checks import check_balance, check_label_names
from earful.training.data_quality.measure_clip import Sound, measure

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """How wrong labels were looked for: among how many clips, and the share that is estimated.

    ``share`` is None where nothing was judged; ``reason`` then says why.
    """

    clips: int
    share: float | None
    reason: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What a CSV holds, all that was found, and where its clips are (line -> clip)."""

    report: CheckReport
    findings: tuple[Finding, ...]
    judged: Judged
    clips: dict[int, Clip] = field(repr=False)

    @property
    def needs_attention(self) -> bool:
        return any(finding.severity in ATTENTION for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """How many findings of each severity there are."""
        by_severity = Counter(finding.severity for finding in self.findings)
        return {severity: by_severity[severity] for severity in SEVERITIES}

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.report.to_dict(),
            "needs_attention": self.needs_attention,
            "counts": self.counts(),
            "findings": [finding.to_dict() for finding in self.findings],
            "wrong_labels": vars(self.judged),
        }


@dataclass(frozen=True)
class Heard:
    """A labels CSV that was read, and what was measured of its usable clips; no audio."""

    report: CheckReport
    sounds: tuple[Sound, ...]


def hear(labels_csv: Path, audio_dir: Path | None, progress: Progress) -> Heard:
    """Read every row and decode every file of a CSV, keeping a few numbers and a small picture.

    Raises:
        LabelsError: the CSV itself cannot be read.
    """
    sounds: list[Sound] = []

    def listen(clip: Clip, audio: ClipAudio) -> None:
        sounds.append(measure(clip, audio))

    report = check_labels(labels_csv, audio_dir, progress, listen)
    return Heard(report, tuple(sounds))


def diagnose(heard: Heard, *, wrong_labels: bool, progress: Progress) -> Diagnosis:
    """All findings; ``wrong_labels`` also asks of each clip whether it sounds like its label."""
    sounds = heard.sounds
    clips = [sound.clip for sound in sounds]
    findings = [
        *map(of_problem, heard.report.problems),
        *check_label_names(clips),
        *check_balance(clips),
        *check_copies(sounds),
        *check_speakers(clips),
        *check_files(sounds),
    ]
    judged = Judged(0, None, "not asked for (--no-wrong-labels)")
    if wrong_labels:
        suspects, judged = find_wrong_labels(sounds, meant_labels(findings), progress)
        findings += suspects
    return Diagnosis(heard.report, _ordered(findings), judged, {clip.line: clip for clip in clips})


def meant_labels(findings: Iterable[Finding]) -> dict[str, str]:
    """Misspelt labels and other forms -> the label that is meant."""
    codes = ("label_form", "label_typo")
    return {f.label: f.suggested for f in findings if f.code in codes}


def find_wrong_labels(
    sounds: Sequence[Sound], meant: dict[str, str], progress: Progress
) -> tuple[list[Finding], Judged]:
    """Clips whose label is likely wrong, and notes on what could not be judged.

    Labels that mean the same (``meant``) are taken for one.
    """
    several = sum(has_multiple_labels(sound.clip.label) for sound in sounds)
    if several:
        told = f"{several} clips have several labels, and clips are compared that have one each"
        return [], Judged(0, None, told)
    once = one_of_each(sounds)
    named = [meant.get(sound.clip.label, sound.clip.label) for sound in once]
    counts = Counter(named)
    labels = sort_labels(label for label, n in counts.items() if n >= label_errors.FEWEST_CLIPS)
    notes = [_not_judged(label, n) for label, n in counts.items() if label not in labels]
    if len(labels) < 2:
        reason = f"two labels with {label_errors.FEWEST_CLIPS} clips or more are needed"
        return notes, Judged(0, None, reason)
    code = {label: number for number, label in enumerate(labels)}
    known = [(s, code[label]) for s, label in zip(once, named, strict=True) if label in code]
    judgement = label_errors.judge(
        np.stack([sound.picture for sound, _ in known]), np.array([c for _, c in known]),
        len(labels), progress,
    )  # fmt: skip
    suspects = [
        _suspect(sound.clip, labels[heard], probability)
        for (sound, _), heard, probability in zip(
            known, judgement.heard, judgement.wrong, strict=True
        )
        if probability > label_errors.SUSPECT
    ]
    return [*suspects, *notes], Judged(len(known), round(judgement.share, 4))


def _not_judged(label: str, n_clips: int) -> Finding:
    message = (
        f"{label!r} has {clips_of(n_clips)} with sound of their own; to find wrong labels "
        f"{label_errors.FEWEST_CLIPS} are needed"
    )
    return found("not_judged", message, label=label)


def _suspect(clip: Clip, heard: str, probability: float) -> Finding:
    sure = round(float(probability), 4)
    message = f"called {clip.label!r}, sounds like {heard!r} ({100 * sure:.0f} % sure)"
    return found(
        "wrong_label", message, clip.line, clip.filename, label=clip.label, suggested=heard,
        confidence=sure,
    )  # fmt: skip


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """By severity, then the surest first, then by line."""
    return tuple(
        sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), -(f.confidence or 0), f.line))
    )
