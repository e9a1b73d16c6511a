"""The same sound, or the same speaker, where it should not be."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from earful.data.labels.labels_csv import SPLITS, Clip
from earful.training.data_quality.file_checks import is_silent
from earful.training.data_quality.finding import Finding, clips_of, found
from earful.training.data_quality.measure_clip import Sound


def check_copies(sounds: Sequence[Sound]) -> list[Finding]:
    """Clips that sound the same to the last sample, whatever their files are; silence aside."""
    return [finding for group in same_sounds(sounds) for finding in _of_group(group)]


def same_sounds(sounds: Sequence[Sound]) -> list[list[Sound]]:
    """Groups of two clips or more with the same sound."""
    groups: dict[str, list[Sound]] = defaultdict(list)
    for sound in sounds:
        if not is_silent(sound):
            groups[sound.content].append(sound)
    return [group for group in groups.values() if len(group) > 1]


def one_of_each(sounds: Sequence[Sound]) -> list[Sound]:
    """The clips without silent ones, later copies, and sounds whose labels disagree."""
    groups = same_sounds(sounds)
    left_out = {
        sound.clip.line
        for group in groups
        for sound in (group if _labels(group) > 1 else group[1:])
    }
    return [s for s in sounds if s.clip.line not in left_out and not is_silent(s)]


def _labels(group: Sequence[Sound]) -> int:
    return len({sound.clip.label for sound in group})


def _of_group(group: list[Sound]) -> Iterator[Finding]:
    """A finding for each copy, by the first clip that has another label, or is in another split."""
    clips = [sound.clip for sound in group]
    by_label = {clip.label: clip for clip in reversed(clips)}
    by_split = {clip.split: clip for clip in reversed(clips) if clip.split}
    for clip in clips:
        relabelled = next((c for label, c in by_label.items() if label != clip.label), None)
        across = next((c for s, c in by_split.items() if clip.split and s != clip.split), None)
        if relabelled:
            said = f"called {clip.label!r}, and {relabelled.label!r} in {relabelled.location}"
            yield found("conflicting_labels", said, clip.line, clip.filename, label=clip.label)
        if across:
            said = f"in {clip.split}; the same sound is in {across.split} ({across.location})"
            yield found("leaked_audio", said, clip.line, clip.filename, label=clip.label)
        if clip is not clips[0] and not relabelled and not across:
            said = f"the same sound as {clips[0].location}"
            yield found("duplicate", said, clip.line, clip.filename, label=clip.label)


def check_speakers(clips: Sequence[Clip]) -> list[Finding]:
    """Speakers in more than one part of the split column; a warning where the test is one."""
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, Clip] = {}
    for clip in clips:
        if clip.speaker and clip.split:
            parts[clip.speaker][clip.split] += 1
            first.setdefault(clip.speaker, clip)
    findings = []
    for speaker, counts in parts.items():
        if len(counts) > 1:
            told = ", ".join(
                f"{clips_of(counts[split])} in {split}" for split in SPLITS if counts[split]
            )
            findings.append(
                found(
                    "leaked_speaker", f"speaker {speaker!r}: {told}", first[speaker].line,
                    first[speaker].filename, severity="warning" if counts["test"] else "note",
                )
            )  # fmt: skip
    return findings
