"""Rows whose end lies behind that of their recording, which is used up to its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earful.data.audio.decode import END_TOLERANCE_SECONDS
from earful.data.labels.clip import Clip


@dataclass(frozen=True)
class LateEnd:
    """A clip, and the length of its recording in seconds, which is less than the clip's end."""

    clip: Clip
    recording_seconds: float

    @property
    def used_clip(self) -> Clip:
        """The clip up to the end of its recording."""
        return replace(self.clip, end_seconds=self.recording_seconds)


def find_late_end(clip: Clip, seconds: float) -> LateEnd | None:
    """Whether a clip of which ``seconds`` were found ends behind its recording; None if not."""
    start, end = clip.span or (0.0, 0.0)
    is_late = end > start + seconds + END_TOLERANCE_SECONDS
    return LateEnd(clip, start + seconds) if is_late else None


def up_to_end(clip: Clip, seconds: float) -> Clip:
    """The clip, or, where it ends behind its recording, the ``seconds`` of it that were found."""
    late = find_late_end(clip, seconds)
    return clip if late is None else late.used_clip


def describe_late_ends(late: Sequence[LateEnd]) -> list[str]:
    """One note on all rows that end behind their recording; empty without any."""
    if not late:
        return []
    clip = late[0].clip
    times = f"{clip.start_seconds:g} to {clip.end_seconds:g} s of {late[0].recording_seconds:g} s"
    if len(late) == 1:
        return [
            f"1 row ends after its recording and was used up to its end ({clip.location}, {times})"
        ]
    return [
        f"{len(late)} rows end after their recording and were used up to its end (the first: "
        f"{clip.location}, {times})"
    ]
