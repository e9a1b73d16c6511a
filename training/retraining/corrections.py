"""Who may correct what: a curated label is not overruled by a voice that nobody vouches for.

Curated are the labels of the base data that did not come from feedback alone. Feedback overrules
them if it is trusted (``service.feedback.majority``); a labels CSV always does, as who gives it
chose its rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from earful.data.labels.clip import Clip
from earful.service.core.label_changes import LabelChange
from earful.service.feedback.export import SOURCE as FEEDBACK
from earful.training.releases.manifest import ManifestRow


@dataclass(frozen=True)
class LabelOrigin:
    """Who gave a new label, for people to read, and whether it may overrule a curated one."""

    by: str
    may_overrule: bool = True


@dataclass(frozen=True)
class HashedClip:
    """A new clip with the hashes of its file and of its audio, and the origin of its label."""

    clip: Clip
    sha256: str
    audio_hash: str
    origin: LabelOrigin = LabelOrigin("a labels CSV")


def csv_origin(source: str, clip: Clip) -> LabelOrigin:
    """The origin of a label in a labels CSV: its row."""
    return LabelOrigin(f"{source}, line {clip.line}" if clip.line else source)


def split_overruling(
    base: Sequence[ManifestRow], hashed_clips: Iterable[HashedClip]
) -> tuple[list[HashedClip], tuple[LabelChange, ...]]:
    """The clips to use, and the changes of curated labels that are not made."""
    curated: dict[str, ManifestRow] = {}
    in_test_set = {row.audio_hash for row in base if row.split == "test"}
    for row in base:
        # The audio of the test set is refused in any case, with a reason of its own.
        if row.source != FEEDBACK and row.audio_hash not in in_test_set:
            curated.setdefault(row.audio_hash, row)
    used: list[HashedClip] = []
    kept: list[LabelChange] = []
    for hashed in hashed_clips:
        known = curated.get(hashed.audio_hash)
        if known is None or known.label == hashed.clip.label or hashed.origin.may_overrule:
            used.append(hashed)
        else:
            kept.append(to_change(known, hashed))
    return used, tuple(kept)


def changed_rows(
    base: Iterable[ManifestRow], corrections: Mapping[str, HashedClip]
) -> tuple[LabelChange, ...]:
    """The clips of the base whose label the corrections, by audio hash, change."""
    return tuple(
        to_change(row, corrections[row.audio_hash])
        for row in base
        if row.audio_hash in corrections and row.label != corrections[row.audio_hash].clip.label
    )


def to_change(row: ManifestRow, hashed: HashedClip) -> LabelChange:
    return LabelChange(
        filename=str(row.path),
        start=row.start_seconds,
        end=row.end_seconds,
        old=row.label,
        new=hashed.clip.label,
        by=hashed.origin.by,
    )
