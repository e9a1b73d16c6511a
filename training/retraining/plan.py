"""The plan of a retraining: the rows of the next version from base data and new labels.

The frozen test set is all base rows with split ``test``. Its audio is never trained on, under any
filename or file format.
"""

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from earful.data.labels.clip import Clip, ClipProblem
from earful.data.labels.multilabel import sort_labels
from earful.service.core.label_changes import LabelChange, list_changes, list_kept
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import to_row
from earful.training.retraining.corrections import changed_rows, relabel
from earful.training.retraining.deduplicator import Deduplicator

# Held-out shares of a new label whose clips have no split.
NEW_LABEL_TEST_SHARE, NEW_LABEL_VALIDATION_SHARE = 0.2, 0.1
_SEED = 42
_MAX_LISTED = 20


@dataclass(frozen=True)
class RetrainOptions:
    """Options of a retraining.

    margin                  share of a group's clips by which the candidate may be worse
    min_new_label_accuracy  minimum accuracy on the held-out clips of each new label
    """

    add_labels: bool = False
    remove_labels: tuple[str, ...] = ()
    from_scratch: bool = False
    skip_bad: bool = False
    epochs: int | None = None
    seed: int = 42
    margin: float = 0.03
    min_new_label_accuracy: float = 0.8


def hash_request(new_clips: Sequence[Clip], options: RetrainOptions) -> str:
    """Hash of clips and options, which identifies a repeated request.

    Not part of it is what makes no difference to the model: where the clips lie, the order of
    clips and labels, and ``skip_bad``, without which bad rows only stop the same retraining.
    """
    clips = sorted({(clip.audio_hash, clip.label, clip.speaker, clip.split) for clip in new_clips})
    values = dataclasses.asdict(options) | {"remove_labels": sorted(set(options.remove_labels))}
    del values["skip_bad"]
    request = [clips, values]
    return hashlib.sha256(json.dumps(request).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """The rows of the next version, and what changed.

    rows                  base rows without removed ones, and added rows
    new                   audio hashes of added or relabelled training rows
    problems              new rows that are skipped
    speakers_in_test_set  speakers of added training clips who are also in the test set
    deleted_feedback      clips of earlier feedback whose recordings were deleted
    leaked_clips          training clips of the base that have the audio of a test clip
    changed_labels        clips of the base that get another label
    kept_labels           clips of the base that keep their curated label (``corrections``)
    """

    rows: tuple[Clip, ...]
    new: frozenset[str]
    added: int
    corrected: int
    duplicates: int
    removed: int
    new_labels: tuple[str, ...]
    removed_labels: tuple[str, ...]
    problems: tuple[ClipProblem, ...]
    speakers_in_test_set: tuple[str, ...]
    by_split: Mapping[str, int] = field(default_factory=dict)
    deleted_feedback: int = 0
    leaked_clips: int = 0
    changed_labels: tuple[LabelChange, ...] = ()
    kept_labels: tuple[LabelChange, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether the data differs from the base."""
        return bool(self.added or self.corrected or self.removed or self.deleted_feedback)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sort_labels(row.label for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        return {
            "clips": len(self.rows),
            "by_split": dict(self.by_split),
            "added": self.added,
            "corrected": self.corrected,
            "duplicates": self.duplicates,
            "removed": self.removed,
            "deleted_feedback": self.deleted_feedback,
            "leaked_clips": self.leaked_clips,
            "labels": list(self.labels),
            "new_labels": list(self.new_labels),
            "removed_labels": list(self.removed_labels),
            "changed_labels": [dataclasses.asdict(change) for change in self.changed_labels],
            "kept_labels": [dataclasses.asdict(change) for change in self.kept_labels],
            "skipped": [vars(problem) for problem in self.problems],
        }

    def text(self) -> str:
        """Summary of the plan."""
        parts = ", ".join(f"{self.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
        lines = [
            f"{self.added} clips to add, {self.corrected} labels to correct, {self.removed} clips "
            f"to remove, {self.duplicates} duplicates; {len(self.rows)} clips in total ({parts})"
        ]
        lines += list_changes("changed", self.changed_labels)
        lines += list_kept(self.kept_labels)
        if self.new_labels:
            lines.append(f"new labels: {', '.join(self.new_labels)}")
        if self.removed_labels:
            lines.append(f"labels removed: {', '.join(self.removed_labels)}")
        if self.deleted_feedback:
            lines.append(f"{self.deleted_feedback} clips of earlier feedback were deleted")
        if self.leaked_clips:
            lines.append(f"{self.leaked_clips} base clips skipped: same audio as a test clip")
        if self.speakers_in_test_set:
            lines.append(
                f"note: new clips are of {', '.join(self.speakers_in_test_set)}, who are in the "
                "test set: for them it no longer measures accuracy on unknown speakers"
            )
        return "\n".join([*lines, *(f"skipped: {problem}" for problem in self.problems)])


def make_plan(
    base: Sequence[Clip],
    new_clips: Sequence[Clip],
    problems: Sequence[ClipProblem],
    options: RetrainOptions,
) -> Plan:
    """Combine base rows and new clips to the rows of the next version.

    Raises:
        TrainingError: unknown labels without ``add_labels``, labels to remove that do not exist, no
            test set, a label with too few clips, or unusable rows without ``skip_bad``.
    """
    known_clips, unknown_label_problems = _filter_known_labels(base, new_clips, options)
    remaining = [row for row in base if row.label not in options.remove_labels]
    test_hashes = {row.audio_hash for row in remaining if row.split == "test"}
    if not test_hashes:
        raise TrainingError(
            "the base data has no row with split=test to compare the models on; register the model "
            "with a dataset that has test clips"
        )
    usable = [row for row in remaining if row.split == "test" or row.audio_hash not in test_hashes]
    deduplicator = Deduplicator(usable, options.remove_labels)
    for clip in known_clips:
        deduplicator.add(clip)
    deduplicator.drop_conflicts()
    rejected = [*problems, *unknown_label_problems, *deduplicator.problems]
    if rejected and not options.skip_bad:
        raise TrainingError(_format_problems(rejected))
    known_labels = {row.label for row in base}
    added = _assign_splits(deduplicator.added, known_labels)
    corrections = deduplicator.corrections
    corrected_base = [
        relabel(row, new.label, new.provenance.source)
        if (new := corrections.get(row.audio_hash)) is not None
        else row
        for row in usable
    ]
    rows = (*corrected_base, *added)
    _require_enough_clips(rows)
    changed = corrections.keys() | {row.audio_hash for row in added}
    return Plan(
        rows=rows,
        new=frozenset({row.audio_hash for row in rows if row.split == "train"} & changed),
        added=len(added),
        corrected=len(corrections),
        duplicates=deduplicator.duplicates,
        removed=len(base) - len(remaining),
        leaked_clips=len(remaining) - len(usable),
        changed_labels=changed_rows(usable, corrections),
        new_labels=tuple(sort_labels({row.label for row in rows} - known_labels)),
        removed_labels=options.remove_labels,
        problems=tuple(rejected),
        speakers_in_test_set=_speakers_in_test_set(rows, added),
        by_split=Counter(row.split for row in rows),
    )


def _require_enough_clips(rows: Sequence[Clip]) -> None:
    trained = {row.label for row in rows if row.split == "train"}
    for label in sort_labels(row.label for row in rows):
        clips = [row for row in rows if row.label == label]
        if label not in trained or len(clips) < 2:
            raise TrainingError(
                f"the label {label!r} would have {len(clips)} clips, too few for training and test "
                f"({clips[0].path.name} from {clips[0].provenance.source}); add clips, or correct "
                "the label"
            )


def _filter_known_labels(
    base: Sequence[Clip], new_clips: Sequence[Clip], options: RetrainOptions
) -> tuple[list[Clip], list[ClipProblem]]:
    """The clips with known (or added) labels, and problems of the others."""
    known = {row.label for row in base}
    if missing := sort_labels(set(options.remove_labels) - known):
        raise TrainingError(
            f"no label {', '.join(map(repr, missing))} to remove; the model has "
            f"{', '.join(sort_labels(known))}"
        )
    unknown = sort_labels({clip.label for clip in new_clips} - known)
    if options.add_labels:
        known |= set(unknown)
    elif unknown and not options.skip_bad:
        named = ", ".join(map(repr, unknown[:_MAX_LISTED]))
        first = next(clip for clip in new_clips if clip.label == unknown[0])
        raise TrainingError(
            f"unknown labels: {named} (the first: {first.location}). The model has "
            f"{', '.join(sort_labels(known))}; correct them, add them with --add-labels, or skip "
            "them with --skip-bad"
        )
    if len(known - set(options.remove_labels)) < 2:
        raise TrainingError("fewer than two labels would remain; remove fewer with --remove-labels")
    problems = [
        clip.problem("unknown_label", f"the model has no label {clip.label!r}")
        for clip in new_clips
        if clip.label not in known
    ]
    return [clip for clip in new_clips if clip.label in known], problems


def _assign_splits(added: Mapping[str, Clip], known: set[str]) -> list[Clip]:
    """Added rows with a split: their own, else held out for a share of new labels, else train."""
    by_label: dict[str, list[Clip]] = defaultdict(list)
    for row in added.values():
        by_label[row.label].append(row)
    drawn_splits: dict[str, str] = {}
    for label, rows in by_label.items():
        if label not in known and not any(row.split for row in rows):
            drawn_splits |= _draw_held_out(rows)
    return [
        to_row(replace(row, split=row.split or drawn_splits.get(row.audio_hash, "train")))
        for row in added.values()
    ]


def _draw_held_out(rows: Sequence[Clip]) -> dict[str, str]:
    """Assign ``test`` and ``val`` to a share of a new label's clips, by audio hash.

    Whole speakers are drawn if three or more are known, so that the test speakers are unseen.
    """
    speakers = {row.speaker for row in rows} - {""}
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_speaker = len(speakers) > 2 and row.speaker
        groups[f"speaker {row.speaker}" if by_speaker else row.audio_hash].append(row.audio_hash)
    order = np.random.default_rng(_SEED).permutation(sorted(groups)).tolist()
    splits: dict[str, str] = {}
    if len(order) > 2:
        shares = {"test": NEW_LABEL_TEST_SHARE, "val": NEW_LABEL_VALIDATION_SHARE}
        for split, share in shares.items():
            target_count = max(1, round(share * len(rows)))
            while len(order) > 1 and sum(s == split for s in splits.values()) < target_count:
                splits |= dict.fromkeys(groups[order.pop()], split)
    return splits


def _speakers_in_test_set(rows: Iterable[Clip], added: Iterable[Clip]) -> tuple[str, ...]:
    test_speakers = {row.speaker for row in rows if row.split == "test"} - {""}
    return tuple(sorted(test_speakers & {row.speaker for row in added if row.split == "train"}))


def _format_problems(problems: Sequence[ClipProblem]) -> str:
    listed = [f"  {problem}" for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        listed.append(f"  and {len(problems) - _MAX_LISTED} more")
    rows = "row" if len(problems) == 1 else "rows"
    advice = "correct or remove them, or skip them with --skip-bad"
    return "\n".join([f"{len(problems)} {rows} cannot be used; {advice}:", *listed])
