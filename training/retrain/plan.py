"""What a retraining would do with the base data and new labels, decided before it is done.

The frozen test set is every base row whose split is ``test``. A sound that is in it is never
trained on, under whatever name or container it comes.
"""

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data.audio import AudioError
from data.clips import measure_clips
from data.content import audio_hash
from data.features import FeatureConfig
from data.labels import Clip, ClipProblem, LabelledClips, label_order
from training.config import TrainingError
from training.retrain.rows import DataRow

# Of a label that is new, and whose clips say nothing of a split: what is held back.
NEW_LABEL_TEST_SHARE, NEW_LABEL_VALIDATION_SHARE = 0.2, 0.1
_SEED = 42
_SHOWN = 20


@dataclass(frozen=True)
class Options:
    """What a retraining may do.

    margin          share of a group's clips by which the candidate may be worse
    least_accuracy  of the held-out clips of each new label
    """

    add_labels: bool = False
    remove_labels: tuple[str, ...] = ()
    from_scratch: bool = False
    skip_bad: bool = False
    epochs: int | None = None
    seed: int = 42
    margin: float = 0.03
    least_accuracy: float = 0.8


def request_hash(heard: Sequence["Heard"], options: Options) -> str:
    """Identifies what is asked for, so that a command that is given again is known."""
    clips = sorted((h.audio, h.clip.label, h.clip.speaker, h.clip.split) for h in heard)
    facts = [clips, dataclasses.asdict(options)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """The rows of the next version, and what became of the new ones.

    rows        all of them: the base without what was removed, and what is new
    new         sounds (``DataRow.audio``) that are trained on and were not before, or otherwise
    problems    new rows that are left out because something is wrong with them
    """

    rows: tuple[DataRow, ...]
    new: frozenset[str]
    added: int
    corrected: int
    duplicates: int
    removed: int
    new_labels: tuple[str, ...]
    removed_labels: tuple[str, ...]
    problems: tuple[ClipProblem, ...]
    heard_before: tuple[str, ...]  # speakers of new clips who are in the test set too
    by_split: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0  # clips of earlier feedback whose recordings are kept no longer

    @property
    def changes(self) -> bool:
        """Whether there is anything to train for."""
        return bool(self.added or self.corrected or self.removed)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label_order(row.label for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        return {
            "clips": len(self.rows), "by_split": dict(self.by_split), "added": self.added,
            "corrected": self.corrected, "duplicates": self.duplicates, "removed": self.removed,
            "forgotten": self.forgotten,
            "labels": list(self.labels), "new_labels": list(self.new_labels),
            "removed_labels": list(self.removed_labels),
            "left_out": [vars(problem) for problem in self.problems],
        }  # fmt: skip

    def text(self) -> str:
        """For a person: what would be trained on."""
        parts = ", ".join(f"{self.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
        lines = [
            f"{self.added} clips to add, {self.corrected} labels to correct, {self.removed} clips "
            f"to remove, {self.duplicates} known already; then {len(self.rows)} clips ({parts})"
        ]
        if self.new_labels:
            lines.append(f"new labels: {', '.join(self.new_labels)}")
        if self.removed_labels:
            lines.append(f"labels removed: {', '.join(self.removed_labels)}")
        if self.forgotten:
            lines.append(f"{self.forgotten} clips of earlier feedback are kept no longer")
        if self.heard_before:
            lines.append(
                f"note: new clips are of {', '.join(self.heard_before)}, whose other clips are in "
                "the test set: for them it no longer says how new voices fare"
            )
        return "\n".join([*lines, *(f"left out: {problem}" for problem in self.problems)])


@dataclass(frozen=True)
class Heard:
    """A new clip with the hash of its sound and of its file."""

    clip: Clip
    sha256: str
    audio: str


def hear(labelled: LabelledClips, features: FeatureConfig) -> tuple[list[Heard], list[ClipProblem]]:
    """The clips as the model hears them, and what is wrong with the others."""
    problems = [ClipProblem.of_row(problem) for problem in labelled.problems]
    heard: list[Heard] = []
    for clip, found in measure_clips(labelled.clips, features):
        if isinstance(found, AudioError):
            problems.append(ClipProblem.of_audio(clip, found))
        else:
            heard.append(Heard(clip, found.sha256, audio_hash(found.window)))
    return heard, problems


def make_plan(
    base: Sequence[DataRow],
    heard: Sequence[Heard],
    problems: Sequence[ClipProblem],
    options: Options,
    source: str,
) -> Plan:
    """Base and new labels to the rows of the next version.

    Raises:
        TrainingError: labels that are not known and may not be added, or are to be removed and not
            there; rows that cannot be used or are in the test set, unless they may be left out.
    """
    heard, unknown = _known_labels(base, heard, options)
    kept = [row for row in base if row.label not in options.remove_labels]
    sounds = {row.audio: row for row in sorted(kept, key=lambda row: row.split == "test")}
    sorted_out = _Sorting(sounds, options)
    for found in heard:
        sorted_out.add(found, source)
    sorted_out.drop_conflicts()
    left_out = [*problems, *unknown, *sorted_out.problems]
    if left_out and not options.skip_bad:
        raise TrainingError(_refusal(left_out))
    known_labels = {row.label for row in base}
    added = _with_splits(sorted_out.added, known_labels)
    corrections = sorted_out.corrections
    rows = (*(corrections.get(row.audio, row) for row in kept), *added)
    return Plan(
        rows=rows,
        new=frozenset(
            [r.audio for r in added if r.split == "train"]
            + [a for a, r in corrections.items() if r.split == "train"]
        ),
        added=len(added),
        corrected=len(corrections),
        duplicates=sorted_out.duplicates,
        removed=len(base) - len(kept),
        new_labels=tuple(label_order({r.label for r in added} - known_labels)),
        removed_labels=options.remove_labels,
        problems=tuple(left_out),
        heard_before=_heard_before(rows, added),
        by_split=Counter(row.split for row in rows),
    )


class _Sorting:
    """New clips, sorted by what is known of their sounds."""

    def __init__(self, base: Mapping[str, DataRow], options: Options) -> None:
        self._base, self._options = base, options
        self._lines: dict[str, Clip] = {}
        self._conflicts: set[str] = set()
        self.added: dict[str, DataRow] = {}
        self.corrections: dict[str, DataRow] = {}
        self.problems: list[ClipProblem] = []
        self.duplicates = 0

    def add(self, found: Heard, source: str) -> None:
        """Sort one clip in."""
        clip, known = found.clip, self._base.get(found.audio)
        seen = self._lines.setdefault(found.audio, clip)
        if clip.label in self._options.remove_labels:
            self._refuse(clip, "removed_label", f"its label {clip.label!r} is to be removed")
        elif seen is not clip:
            self._repeat(clip, seen, found.audio)
        elif known is None:
            self.added[found.audio] = DataRow.of_clip(
                clip, split=clip.split, sha256=found.sha256, audio=found.audio, source=source
            )
        elif known.split == "test" and not _says_the_same(clip, known):
            self._refuse(
                clip, "in_test_set",
                f"its sound is that of {known.path.name}, which the frozen test set holds",
            )  # fmt: skip
        elif known.label == clip.label:
            self.duplicates += 1
        else:
            self.corrections[found.audio] = known.with_label(clip.label, source)

    def drop_conflicts(self) -> None:
        """Take back what the new rows themselves do not agree on."""
        for audio in self._conflicts:
            self.added.pop(audio, None)
            self.corrections.pop(audio, None)

    def _repeat(self, clip: Clip, seen: Clip, audio: str) -> None:
        if clip.label == seen.label:
            self.duplicates += 1
            return
        self._conflicts.add(audio)
        reason = f"labelled {clip.label!r}, and as {seen.where} {seen.label!r}: the same sound"
        self._refuse(clip, "two_labels", reason)

    def _refuse(self, clip: Clip, code: str, reason: str) -> None:
        self.problems.append(ClipProblem(clip.line, clip.filename, code, reason))


def _says_the_same(clip: Clip, known: DataRow) -> bool:
    """A row that itself says it is for testing, with the label that is known, changes nothing."""
    return clip.split == "test" and clip.label == known.label


def _known_labels(
    base: Sequence[DataRow], heard: Sequence[Heard], options: Options
) -> tuple[list[Heard], list[ClipProblem]]:
    """The clips whose labels may be learnt, and the others."""
    known = {row.label for row in base}
    if missing := label_order(set(options.remove_labels) - known):
        raise TrainingError(
            f"no label {', '.join(map(repr, missing))} to remove; there are "
            f"{', '.join(label_order(known))}"
        )
    unknown = label_order({found.clip.label for found in heard} - known)
    if options.add_labels:
        known |= set(unknown)
    elif unknown and not options.skip_bad:
        named = ", ".join(map(repr, unknown[:_SHOWN]))
        raise TrainingError(
            f"labels that the model does not know: {named}. It knows "
            f"{', '.join(label_order(known))}; mend the rows, or add them with --add-labels"
        )
    if len(known - set(options.remove_labels)) < 2:
        raise TrainingError("fewer than two labels would be left")
    strangers = [found.clip for found in heard if found.clip.label not in known]
    problems = [
        ClipProblem(c.line, c.filename, "unknown_label", f"the model has no label {c.label!r}")
        for c in strangers
    ]
    return [found for found in heard if found.clip.label in known], problems


def _with_splits(added: Mapping[str, DataRow], known: set[str]) -> list[DataRow]:
    """New rows with a split each: their own, else ``train``, but for a share of each new label."""
    by_label: dict[str, list[DataRow]] = defaultdict(list)
    for row in added.values():
        by_label[row.label].append(row)
    drawn: dict[str, str] = {}
    for label, rows in by_label.items():
        if label not in known and not any(row.split for row in rows):
            drawn |= _hold_back([row.audio for row in rows])
    return [replace(r, split=r.split or drawn.get(r.audio, "train")) for r in added.values()]


def _hold_back(sounds: Sequence[str]) -> dict[str, str]:
    """``test`` and ``val`` for a share of a new label's sounds, so that it can be measured."""
    order = np.random.default_rng(_SEED).permutation(sorted(sounds)).tolist()
    n_test = max(1, round(NEW_LABEL_TEST_SHARE * len(order))) if len(order) > 2 else 0
    n_val = max(1, round(NEW_LABEL_VALIDATION_SHARE * len(order))) if len(order) > 3 else 0
    held_back = dict.fromkeys(order[:n_test], "test")
    return held_back | dict.fromkeys(order[n_test : n_test + n_val], "val")


def _heard_before(rows: Iterable[DataRow], added: Iterable[DataRow]) -> tuple[str, ...]:
    tested = {row.speaker for row in rows if row.split == "test"} - {""}
    return tuple(sorted(tested & {row.speaker for row in added if row.split == "train"}))


def _refusal(problems: Sequence[ClipProblem]) -> str:
    shown = [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        shown.append(f"  and {len(problems) - _SHOWN} more")
    rows = "row" if len(problems) == 1 else "rows"
    advice = "mend or remove them, or leave them out with --skip-bad"
    return "\n".join([f"{len(problems)} {rows} cannot be used; {advice}:", *shown])
