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
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.audio.decode import AudioError
from earful.data.audio.fingerprint import audio_hash
from earful.data.dataset.late_ends import up_to_end
from earful.data.dataset.reader import measure_clips
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import ClipProblem, LabelledClips
from earful.data.labels.multilabel import has_multiple_labels, sort_labels
from earful.service.core.label_changes import LabelChange, list_changes, list_kept
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import ManifestRow
from earful.training.retraining.corrections import HashedClip, LabelOrigin, changed_rows, csv_origin
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


def hash_request(hashed_clips: Sequence[HashedClip], options: RetrainOptions) -> str:
    """Hash of clips and options, which identifies a repeated request.

    Not part of it is what makes no difference to the model: where the clips lie, the order of
    clips and labels, and ``skip_bad``, without which bad rows only stop the same retraining.
    """
    clips = sorted(
        {
            (clip.audio_hash, clip.clip.label, clip.clip.speaker, clip.clip.split)
            for clip in hashed_clips
        }
    )
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

    rows: tuple[ManifestRow, ...]
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


def read_new_clips(
    labelled: LabelledClips,
    features: FeatureConfig,
    source: str,
    origins: Mapping[Path, LabelOrigin] | None = None,
) -> tuple[list[HashedClip], list[ClipProblem]]:
    """Hash the usable clips, at the model's sample rate; list the problems of the others.

    ``origins`` has those of labels from feedback, by file; others are of the labels CSV ``source``.
    """
    problems = list(labelled.problems)
    problems += [
        clip.problem(
            "multiple_labels",
            f"label {clip.label!r}: the model has one label per clip",
        )
        for clip in labelled.clips
        if has_multiple_labels(clip.label)
    ]
    usable = [clip for clip in labelled.clips if not has_multiple_labels(clip.label)]
    hashed_clips: list[HashedClip] = []
    for clip, measured in measure_clips(usable, features):
        if isinstance(measured, AudioError):
            problems.append(clip.audio_problem(measured))
        else:
            hashed_clips.append(
                HashedClip(
                    up_to_end(clip, measured.seconds),
                    measured.sha256,
                    audio_hash(measured.window),
                    (origins or {}).get(clip.path) or csv_origin(source, clip),
                )
            )
    return hashed_clips, problems


def make_plan(
    base: Sequence[ManifestRow],
    hashed_clips: Sequence[HashedClip],
    problems: Sequence[ClipProblem],
    options: RetrainOptions,
    source: str,
) -> Plan:
    """Combine base rows and new clips to the rows of the next version.

    Raises:
        TrainingError: unknown labels without ``add_labels``, labels to remove that do not exist, no
            test set, a label with too few clips, or unusable rows without ``skip_bad``.
    """
    hashed_clips, unknown_label_problems = _filter_known_labels(base, hashed_clips, options)
    remaining = [row for row in base if row.label not in options.remove_labels]
    test_hashes = {row.audio_hash for row in remaining if row.split == "test"}
    if not test_hashes:
        raise TrainingError(
            "the base data has no row with split=test to compare the models on; register the model "
            "with a dataset that has test clips"
        )
    usable = [row for row in remaining if row.split == "test" or row.audio_hash not in test_hashes]
    deduplicator = Deduplicator(usable, options.remove_labels, source)
    for hashed in hashed_clips:
        deduplicator.add(hashed)
    deduplicator.drop_conflicts()
    rejected = [*problems, *unknown_label_problems, *deduplicator.problems]
    if rejected and not options.skip_bad:
        raise TrainingError(_format_problems(rejected))
    known_labels = {row.label for row in base}
    added = _assign_splits(deduplicator.added, known_labels)
    corrections = deduplicator.corrections
    corrected_base = [
        row.with_label(corrections[row.audio_hash].clip.label, source)
        if row.audio_hash in corrections
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


def _require_enough_clips(rows: Sequence[ManifestRow]) -> None:
    trained = {row.label for row in rows if row.split == "train"}
    for label in sort_labels(row.label for row in rows):
        clips = [row for row in rows if row.label == label]
        if label not in trained or len(clips) < 2:
            raise TrainingError(
                f"the label {label!r} would have {len(clips)} clips, too few for training and test "
                f"({clips[0].path.name} from {clips[0].source}); add clips, or correct the label"
            )


def _filter_known_labels(
    base: Sequence[ManifestRow], hashed_clips: Sequence[HashedClip], options: RetrainOptions
) -> tuple[list[HashedClip], list[ClipProblem]]:
    """The clips with known (or added) labels, and problems of the others."""
    known = {row.label for row in base}
    if missing := sort_labels(set(options.remove_labels) - known):
        raise TrainingError(
            f"no label {', '.join(map(repr, missing))} to remove; the model has "
            f"{', '.join(sort_labels(known))}"
        )
    unknown = sort_labels({hashed.clip.label for hashed in hashed_clips} - known)
    if options.add_labels:
        known |= set(unknown)
    elif unknown and not options.skip_bad:
        named = ", ".join(map(repr, unknown[:_MAX_LISTED]))
        first = next(hashed.clip for hashed in hashed_clips if hashed.clip.label == unknown[0])
        raise TrainingError(
            f"unknown labels: {named} (the first: {first.location}). The model has "
            f"{', '.join(sort_labels(known))}; correct them, add them with --add-labels, or skip "
            "them with --skip-bad"
        )
    if len(known - set(options.remove_labels)) < 2:
        raise TrainingError("fewer than two labels would remain; remove fewer with --remove-labels")
    unknown_clips = [hashed.clip for hashed in hashed_clips if hashed.clip.label not in known]
    problems = [
        clip.problem("unknown_label", f"the model has no label {clip.label!r}")
        for clip in unknown_clips
    ]
    return [hashed for hashed in hashed_clips if hashed.clip.label in known], problems


def _assign_splits(added: Mapping[str, ManifestRow], known: set[str]) -> list[ManifestRow]:
    """Added rows with a split: their own, else held out for a share of new labels, else train."""
    by_label: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in added.values():
        by_label[row.label].append(row)
    drawn_splits: dict[str, str] = {}
    for label, rows in by_label.items():
        if label not in known and not any(row.split for row in rows):
            drawn_splits |= _draw_held_out(rows)
    return [
        replace(row, split=row.split or drawn_splits.get(row.audio_hash, "train"))
        for row in added.values()
    ]


def _draw_held_out(rows: Sequence[ManifestRow]) -> dict[str, str]:
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


def _speakers_in_test_set(
    rows: Iterable[ManifestRow], added: Iterable[ManifestRow]
) -> tuple[str, ...]:
    test_speakers = {row.speaker for row in rows if row.split == "test"} - {""}
    return tuple(sorted(test_speakers & {row.speaker for row in added if row.split == "train"}))


def _format_problems(problems: Sequence[ClipProblem]) -> str:
    listed = [f"  {problem}" for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        listed.append(f"  and {len(problems) - _MAX_LISTED} more")
    rows = "row" if len(problems) == 1 else "rows"
    advice = "correct or remove them, or skip them with --skip-bad"
    return "\n".join([f"{len(problems)} {rows} cannot be used; {advice}:", *listed])
