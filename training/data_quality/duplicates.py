"""Duplicate audio, and audio or speakers in more than one split."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from earful.data.labels.clip import SPLITS, Clip
from earful.training.data_quality.file_checks import is_silent
from earful.training.data_quality.finding import Finding, format_clip_count, make_finding
from earful.training.data_quality.measure_clip import ClipMeasurement


def check_duplicates(measurements: Sequence[ClipMeasurement]) -> list[Finding]:
    """Findings on clips with identical samples, in any file format; silent clips are ignored."""
    return [
        finding for group in group_duplicates(measurements) for finding in _group_findings(group)
    ]


def group_duplicates(measurements: Sequence[ClipMeasurement]) -> list[list[ClipMeasurement]]:
    """Groups of two or more clips with identical audio."""
    groups: dict[str, list[ClipMeasurement]] = defaultdict(list)
    for measurement in measurements:
        if not is_silent(measurement):
            groups[measurement.audio_hash].append(measurement)
    return [group for group in groups.values() if len(group) > 1]


def drop_ambiguous_duplicates(measurements: Sequence[ClipMeasurement]) -> list[ClipMeasurement]:
    """The clips without silent clips, repeated copies and audio with conflicting labels."""
    groups = group_duplicates(measurements)
    dropped_lines = {
        measurement.clip.line
        for group in groups
        for measurement in (group if _count_labels(group) > 1 else group[1:])
    }
    return [
        measurement
        for measurement in measurements
        if measurement.clip.line not in dropped_lines and not is_silent(measurement)
    ]


def _count_labels(group: Sequence[ClipMeasurement]) -> int:
    return len({measurement.clip.label for measurement in group})


def _group_findings(group: list[ClipMeasurement]) -> Iterator[Finding]:
    """A finding per copy, which names the first clip with another label or in another split."""
    clips = [measurement.clip for measurement in group]
    by_label = {clip.label: clip for clip in reversed(clips)}
    by_split = {clip.split: clip for clip in reversed(clips) if clip.split}
    for clip in clips:
        relabelled = next((c for label, c in by_label.items() if label != clip.label), None)
        in_other_split = next(
            (c for split, c in by_split.items() if clip.split and split != clip.split), None
        )
        if relabelled:
            message = (
                f"labelled {clip.label!r}; the same audio is labelled {relabelled.label!r} in "
                f"{relabelled.location}"
            )
            yield make_finding("conflicting_labels", message, clip)
        if in_other_split:
            message = (
                f"in {clip.split}; the same audio is in {in_other_split.split} "
                f"({in_other_split.location})"
            )
            yield make_finding("leaked_audio", message, clip)
        if clip is not clips[0] and not relabelled and not in_other_split:
            message = f"same audio as {clips[0].location}"
            yield make_finding("duplicate", message, clip)


def check_speakers(clips: Sequence[Clip]) -> list[Finding]:
    """Findings on speakers in more than one split; a warning where test is one of them."""
    split_counts: dict[str, Counter[str]] = defaultdict(Counter)
    first_clip: dict[str, Clip] = {}
    for clip in clips:
        if clip.speaker and clip.split:
            split_counts[clip.speaker][clip.split] += 1
            first_clip.setdefault(clip.speaker, clip)
    findings = []
    for speaker, counts in split_counts.items():
        if len(counts) > 1:
            message = ", ".join(
                f"{format_clip_count(counts[split])} in {split}"
                for split in SPLITS
                if counts[split]
            )
            findings.append(
                make_finding(
                    "leaked_speaker",
                    f"speaker {speaker!r}: {message}",
                    first_clip[speaker],
                    severity="warning" if counts["test"] else "note",
                    label="",
                )
            )
    return findings
