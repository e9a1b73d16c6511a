"""Who may correct what: a curated label is not overruled by a voice that nobody vouches for.

Curated are the labels of the base data that did not come from feedback alone. Feedback overrules
them if it is trusted (``service.feedback.majority``); a labels CSV always does, as who gives it
chose its rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from earful.data.labels.clip import Clip
from earful.service.core.label_changes import LabelChange
from earful.service.feedback.export import SOURCE as FEEDBACK


def split_overruling(
    base: Sequence[Clip], new_clips: Iterable[Clip]
) -> tuple[list[Clip], tuple[LabelChange, ...]]:
    """The new clips to use, and the changes of curated labels that are not made."""
    curated: dict[str, Clip] = {}
    in_test_set = {row.audio_hash for row in base if row.split == "test"}
    for row in base:
        # The audio of the test set is refused in any case, with a reason of its own.
        if row.provenance.source != FEEDBACK and row.audio_hash not in in_test_set:
            curated.setdefault(row.audio_hash, row)
    used: list[Clip] = []
    kept: list[LabelChange] = []
    for clip in new_clips:
        known = curated.get(clip.audio_hash)
        if known is None or known.label == clip.label or clip.may_overrule:
            used.append(clip)
        else:
            kept.append(_to_change(known, clip))
    return used, tuple(kept)


def changed_rows(base: Iterable[Clip], corrections: Mapping[str, Clip]) -> tuple[LabelChange, ...]:
    """The clips of the base whose label the corrections, by audio hash, change."""
    return tuple(
        _to_change(row, corrections[row.audio_hash])
        for row in base
        if row.audio_hash in corrections and row.label != corrections[row.audio_hash].label
    )


def relabel(row: Clip, label: str, source: str) -> Clip:
    """A clip of the base with the label that a source corrects it to."""
    return replace(row, label=label, provenance=row.provenance.corrected_by(source))


def _to_change(row: Clip, new: Clip) -> LabelChange:
    return LabelChange(
        filename=str(row.path),
        start=row.start_seconds,
        end=row.end_seconds,
        old=row.label,
        new=new.label,
        by=new.provenance.annotator,
    )
