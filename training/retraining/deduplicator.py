"""New clips sorted by what is known of their sounds: added, corrected, known, or refused."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from earful.data.labels.labels_csv import Clip, ClipProblem
from earful.training.releases.manifest import DataRow

Stretch = tuple[float, float]


@dataclass(frozen=True)
class Heard:
    """A new clip with the hash of its sound and of its file."""

    clip: Clip
    sha256: str
    audio: str


class Sorting:
    """``added`` are new rows by sound, ``corrections`` new labels of known sounds."""

    def __init__(self, base: Sequence[DataRow], removed: Sequence[str], source: str) -> None:
        self._removed, self._source = removed, source
        # Of rows that sound alike, one of the test set decides.
        self._base = {row.audio: row for row in sorted(base, key=lambda r: r.split == "test")}
        self._tested: dict[str, list[DataRow]] = defaultdict(list)
        for row in base:
            if row.split == "test":
                self._tested[row.sha256].append(row)
        self._first: dict[str, Clip] = {}
        self._conflicts: set[str] = set()
        self.added: dict[str, DataRow] = {}
        self.corrections: dict[str, str] = {}
        self.problems: list[ClipProblem] = []
        self.duplicates = 0

    def add(self, found: Heard) -> None:
        """Sort one clip in."""
        clip = found.clip
        first = self._first.setdefault(found.audio, clip)
        if clip.label in self._removed:
            self._refuse(clip, "removed_label", f"its label {clip.label!r} is to be removed")
        elif first is not clip:
            self._repeat(clip, first, found.audio)
        elif found.audio in self._base:
            self._known(found, self._base[found.audio])
        elif (tested := self._overlapping(found)) is not None:
            self._refuse_tested(clip, tested)
        else:
            self.added[found.audio] = DataRow.of_clip(
                clip, split=clip.split, sha256=found.sha256, audio=found.audio, source=self._source
            )

    def drop_conflicts(self) -> None:
        """Take back what the new rows themselves do not agree on."""
        for audio in self._conflicts:
            self.added.pop(audio, None)
            self.corrections.pop(audio, None)

    def _known(self, found: Heard, known: DataRow) -> None:
        clip = found.clip
        if known.split != "test":
            if clip.split == "test":
                reason = f"it is to be tested on, but its sound is trained on ({known.path.name})"
                self._refuse(clip, "trained_on", reason)
            elif known.label == clip.label:
                self.duplicates += 1
            else:
                self.corrections[found.audio] = clip.label
        elif known.label == clip.label and (clip.split == "test" or known.source == self._source):
            self.duplicates += 1  # held back when it was new
        else:
            self._refuse_tested(clip, known)

    def _overlapping(self, found: Heard) -> DataRow | None:
        """A test row of the same file that shares some of its time."""
        mine = _stretch(found.clip.start_seconds, found.clip.end_seconds)
        for row in self._tested.get(found.sha256, ()):
            theirs = _stretch(row.start_seconds, row.end_seconds)
            if mine[0] < theirs[1] and theirs[0] < mine[1]:
                return row
        return None

    def _repeat(self, clip: Clip, first: Clip, audio: str) -> None:
        if clip.label == first.label:
            self.duplicates += 1
            return
        self._conflicts.add(audio)
        reason = f"labelled {clip.label!r}, and as {first.location} {first.label!r}: the same sound"
        self._refuse(clip, "two_labels", reason)

    def _refuse_tested(self, clip: Clip, known: DataRow) -> None:
        reason = f"its sound is that of {known.path.name}, which the frozen test set holds"
        self._refuse(clip, "in_test_set", reason)

    def _refuse(self, clip: Clip, code: str, reason: str) -> None:
        self.problems.append(ClipProblem(clip.line, clip.filename, code, reason))


def _stretch(start: float | None, end: float | None) -> Stretch:
    return (0.0, float("inf")) if start is None or end is None else (start, end)
