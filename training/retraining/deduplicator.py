"""Compare new clips with the base data by audio hash: added, corrected, duplicate, rejected."""

from collections import defaultdict
from collections.abc import Sequence

from earful.data.labels.clip import Clip, ClipProblem
from earful.training.releases.manifest import ManifestRow
from earful.training.retraining.corrections import HashedClip

TimeSpan = tuple[float, float]


class Deduplicator:
    """Sorts new clips into ``added`` rows and ``corrections`` (new labels), by audio hash."""

    def __init__(self, base: Sequence[ManifestRow], removed: Sequence[str], source: str) -> None:
        self._removed, self._source = removed, source
        # Among rows with the same audio, a test row takes precedence.
        self._base_rows = {
            row.audio_hash: row for row in sorted(base, key=lambda r: r.split == "test")
        }
        self._test_rows: dict[str, list[ManifestRow]] = defaultdict(list)
        for row in base:
            if row.split == "test":
                self._test_rows[row.sha256].append(row)
        self._first_clips: dict[str, Clip] = {}
        self._conflicts: set[str] = set()
        self.added: dict[str, ManifestRow] = {}
        self.corrections: dict[str, HashedClip] = {}
        self.problems: list[ClipProblem] = []
        self.duplicates = 0

    def add(self, hashed: HashedClip) -> None:
        """Process one clip."""
        clip = hashed.clip
        first = self._first_clips.setdefault(hashed.audio_hash, clip)
        if clip.label in self._removed:
            self._reject(
                clip, "removed_label", f"its label {clip.label!r} is one of --remove-labels"
            )
        elif first is not clip:
            self._handle_repeat(clip, first, hashed.audio_hash)
        elif hashed.audio_hash in self._base_rows:
            self._handle_known_audio(hashed, self._base_rows[hashed.audio_hash])
        elif (overlap := self._find_overlap(hashed)) is not None:
            self._reject_test_audio(clip, overlap)
        else:
            self.added[hashed.audio_hash] = ManifestRow.from_clip(
                clip,
                split=clip.split,
                sha256=hashed.sha256,
                audio_hash=hashed.audio_hash,
                source=self._source,
            )

    def drop_conflicts(self) -> None:
        """Drop audio that the new rows label in two ways."""
        for audio_hash in self._conflicts:
            self.added.pop(audio_hash, None)
            self.corrections.pop(audio_hash, None)

    def _handle_known_audio(self, hashed: HashedClip, known: ManifestRow) -> None:
        clip = hashed.clip
        if known.split != "test":
            if clip.split == "test":
                reason = f"its split is test, but its audio is training data ({known.path.name})"
                self._reject(clip, "trained_on", reason)
            elif known.label == clip.label:
                self.duplicates += 1
            else:
                self.corrections[hashed.audio_hash] = hashed
        elif known.label == clip.label and (clip.split == "test" or known.source == self._source):
            self.duplicates += 1  # a held-out clip of an earlier retraining
        else:
            self._reject_test_audio(clip, known)

    def _find_overlap(self, hashed: HashedClip) -> ManifestRow | None:
        """A test row of the same file with an overlapping time span."""
        own_span = _time_span(hashed.clip.start_seconds, hashed.clip.end_seconds)
        for row in self._test_rows.get(hashed.sha256, ()):
            row_span = _time_span(row.start_seconds, row.end_seconds)
            if own_span[0] < row_span[1] and row_span[0] < own_span[1]:
                return row
        return None

    def _handle_repeat(self, clip: Clip, first: Clip, audio_hash: str) -> None:
        if clip.label == first.label:
            self.duplicates += 1
            return
        self._conflicts.add(audio_hash)
        reason = (
            f"labelled {clip.label!r}, but the same audio in {first.location} is {first.label!r}"
        )
        self._reject(clip, "two_labels", reason)

    def _reject_test_audio(self, clip: Clip, known: ManifestRow) -> None:
        reason = f"its audio is in the frozen test set ({known.path.name})"
        self._reject(clip, "in_test_set", reason)

    def _reject(self, clip: Clip, code: str, reason: str) -> None:
        self.problems.append(clip.problem(code, reason))


def _time_span(start: float | None, end: float | None) -> TimeSpan:
    return (0.0, float("inf")) if start is None or end is None else (start, end)
