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

from earful.data.audio.decode import AudioError
from earful.data.audio.fingerprint import audio_hash
from earful.data.dataset.reader import measure_clips
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import ClipProblem, LabelledClips
from earful.data.labels.multilabel import has_multiple_labels, sort_labels
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import DataRow
from earful.training.retraining.deduplicator import Heard, Sorting

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


def request_hash(heard: Sequence[Heard], options: Options) -> str:
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
    leaked: int = 0  # training clips of the base that sound like a test clip

    @property
    def changes(self) -> bool:
        """Whether there is anything to train for."""
        return bool(self.added or self.corrected or self.removed or self.forgotten)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sort_labels(row.label for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        return {
            "clips": len(self.rows), "by_split": dict(self.by_split), "added": self.added,
            "corrected": self.corrected, "duplicates": self.duplicates, "removed": self.removed,
            "forgotten": self.forgotten, "leaked": self.leaked,
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
        if self.leaked:
            lines.append(f"{self.leaked} clips of the base sound like test clips and are left out")
        if self.heard_before:
            lines.append(
                f"note: new clips are of {', '.join(self.heard_before)}, whose other clips are in "
                "the test set: for them it no longer says how new voices fare"
            )
        return "\n".join([*lines, *(f"left out: {problem}" for problem in self.problems)])


def hear(labelled: LabelledClips, features: FeatureConfig) -> tuple[list[Heard], list[ClipProblem]]:
    """The clips as the model hears them, and what is wrong with the others."""
    problems = [ClipProblem.from_row_problem(problem) for problem in labelled.problems]
    problems += [
        ClipProblem(
            c.line, c.filename, "multiple_labels",
            f"label {c.label!r}: the model says one label a clip",
        )
        for c in labelled.clips
        if has_multiple_labels(c.label)
    ]  # fmt: skip
    usable = [clip for clip in labelled.clips if not has_multiple_labels(clip.label)]
    heard: list[Heard] = []
    for clip, found in measure_clips(usable, features):
        if isinstance(found, AudioError):
            problems.append(ClipProblem.from_audio_error(clip, found))
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
    wanted = [row for row in base if row.label not in options.remove_labels]
    tested = {row.audio for row in wanted if row.split == "test"}
    if not tested:
        raise TrainingError(
            "the base data has no row with split=test, so nothing could tell whether the result is "
            "better; register the model with a dataset that holds clips back"
        )
    kept = [row for row in wanted if row.split == "test" or row.audio not in tested]
    sorted_out = Sorting(kept, options.remove_labels, source)
    for found in heard:
        sorted_out.add(found)
    sorted_out.drop_conflicts()
    left_out = [*problems, *unknown, *sorted_out.problems]
    if left_out and not options.skip_bad:
        raise TrainingError(_refusal(left_out))
    known_labels = {row.label for row in base}
    added = _with_splits(sorted_out.added, known_labels)
    corrections = sorted_out.corrections
    rows = (
        *(
            row.with_label(corrections[row.audio], source) if row.audio in corrections else row
            for row in kept
        ),
        *added,
    )
    _check_learnable(rows)
    changed = corrections.keys() | {row.audio for row in added}
    return Plan(
        rows=rows,
        new=frozenset(r.audio for r in rows if r.split == "train" and r.audio in changed),
        added=len(added),
        corrected=len(corrections),
        duplicates=sorted_out.duplicates,
        removed=len(base) - len(wanted),
        leaked=len(wanted) - len(kept),
        new_labels=tuple(sort_labels({row.label for row in rows} - known_labels)),
        removed_labels=options.remove_labels,
        problems=tuple(left_out),
        heard_before=_heard_before(rows, added),
        by_split=Counter(row.split for row in rows),
    )


def _check_learnable(rows: Sequence[DataRow]) -> None:
    trained = {row.label for row in rows if row.split == "train"}
    for label in sort_labels(row.label for row in rows):
        clips = [row for row in rows if row.label == label]
        if label not in trained or len(clips) < 2:
            raise TrainingError(
                f"the label {label!r} would have {len(clips)} clips, too few to learn and to test "
                f"({clips[0].path.name} from {clips[0].source}); give more of them, or correct it"
            )


def _known_labels(
    base: Sequence[DataRow], heard: Sequence[Heard], options: Options
) -> tuple[list[Heard], list[ClipProblem]]:
    """The clips whose labels may be learnt, and the others."""
    known = {row.label for row in base}
    if missing := sort_labels(set(options.remove_labels) - known):
        raise TrainingError(
            f"no label {', '.join(map(repr, missing))} to remove; there are "
            f"{', '.join(sort_labels(known))}"
        )
    unknown = sort_labels({found.clip.label for found in heard} - known)
    if options.add_labels:
        known |= set(unknown)
    elif unknown and not options.skip_bad:
        named = ", ".join(map(repr, unknown[:_SHOWN]))
        first = next(found.clip for found in heard if found.clip.label == unknown[0])
        raise TrainingError(
            f"labels that the model does not know: {named} (the first: {first.location}). It knows "
            f"{', '.join(sort_labels(known))}; mend them, add them with --add-labels, or leave "
            "them out with --skip-bad"
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
            drawn |= _hold_back(rows)
    return [replace(r, split=r.split or drawn.get(r.audio, "train")) for r in added.values()]


def _hold_back(rows: Sequence[DataRow]) -> dict[str, str]:
    """``test`` and ``val`` for a share of a new label's sounds, so that it can be measured.

    Whole speakers are drawn where three or more are known, so that they are new to the model.
    """
    speakers = {row.speaker for row in rows} - {""}
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        apart = len(speakers) > 2 and row.speaker
        groups[f"speaker {row.speaker}" if apart else row.audio].append(row.audio)
    order = np.random.default_rng(_SEED).permutation(sorted(groups)).tolist()
    found: dict[str, str] = {}
    if len(order) > 2:
        wanted = {"test": NEW_LABEL_TEST_SHARE, "val": NEW_LABEL_VALIDATION_SHARE}
        for split, share in wanted.items():
            least = max(1, round(share * len(rows)))
            while len(order) > 1 and sum(s == split for s in found.values()) < least:
                found |= dict.fromkeys(groups[order.pop()], split)
    return found


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
