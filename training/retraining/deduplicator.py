"""Compare new clips with the base data by audio hash: added, corrected, duplicate, rejected."""

from collections import defaultdict
from collections.abc import Sequence

from earful.data.labels.clip import Clip, ClipProblem

_WHOLE_FILE = (0.0, float("inf"))


class Deduplicator:
    """Sorts new clips into ``added`` ones and ``corrections`` (new labels), by audio hash."""

    def __init__(self, base: Sequence[Clip], removed: Sequence[str]) -> None:
        self._removed = removed
        # Among rows with the same audio, a test row takes precedence.
        self._base_rows = {
            row.audio_hash: row for row in sorted(base, key=lambda r: r.split == "test")
        }
        self._test_rows: dict[str, list[Clip]] = defaultdict(list)
        for row in base:
            if row.split == "test":
                self._test_rows[row.sha256].append(row)
        self._first_clips: dict[str, Clip] = {}
        self._conflicts: set[str] = set()
        self.added: dict[str, Clip] = {}
        self.corrections: dict[str, Clip] = {}
        self.problems: list[ClipProblem] = []
        self.duplicates = 0

    def add(self, clip: Clip) -> None:
        """Process one clip."""
        first = self._first_clips.setdefault(clip.audio_hash, clip)
        if clip.label in self._removed:
            self._reject(
                clip, "removed_label", f"its label {clip.label!r} is one of --remove-labels"
            )
        elif first is not clip:
            self._handle_repeat(clip, first)
        elif clip.audio_hash in self._base_rows:
            self._handle_known_audio(clip, self._base_rows[clip.audio_hash])
        elif (overlap := self._find_overlap(clip)) is not None:
            self._reject_test_audio(clip, overlap)
        else:
            self.added[clip.audio_hash] = clip

    def drop_conflicts(self) -> None:
        """Drop audio that the new rows label in two ways."""
        for audio_hash in self._conflicts:
            self.added.pop(audio_hash, None)
            self.corrections.pop(audio_hash, None)

    def _handle_known_audio(self, clip: Clip, known: Clip) -> None:
        if known.split != "test":
            if clip.split == "test":
                reason = f"its split is test, but its audio is training data ({known.path.name})"
                self._reject(clip, "trained_on", reason)
            elif known.label == clip.label:
                self.duplicates += 1
            else:
                self.corrections[clip.audio_hash] = clip
        elif known.label == clip.label and (
            clip.split == "test" or known.provenance.source == clip.provenance.source
        ):
            self.duplicates += 1  # a held-out clip of an earlier retraining
        else:
            self._reject_test_audio(clip, known)

    def _find_overlap(self, clip: Clip) -> Clip | None:
        """A test row of the same file with an overlapping time span."""
        start, end = clip.span or _WHOLE_FILE
        for row in self._test_rows.get(clip.sha256, ()):
            row_start, row_end = row.span or _WHOLE_FILE
            if start < row_end and row_start < end:
                return row
        return None

    def _handle_repeat(self, clip: Clip, first: Clip) -> None:
        if clip.label == first.label:
            self.duplicates += 1
            return
        self._conflicts.add(clip.audio_hash)
        reason = (
            f"labelled {clip.label!r}, but the same audio in {first.location} is {first.label!r}"
        )
        self._reject(clip, "two_labels", reason)

    def _reject_test_audio(self, clip: Clip, known: Clip) -> None:
        reason = f"its audio is in the frozen test set ({known.path.name})"
        self._reject(clip, "in_test_set", reason)

    def _reject(self, clip: Clip, code: str, reason: str) -> None:
        self.problems.append(clip.problem(code, reason))
